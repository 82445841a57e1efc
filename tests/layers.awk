# layers.awk - who may include whom (DESIGN section 10), as a test.
#
# Input: grep -rnoE '^#include "[^"]+"' proto sandbox broker backends schema
BEGIN {
	may["proto"] = "proto/"
	may["sandbox"] = "sandbox/ proto/ gen/"
	may["broker"] = "broker/ proto/ gen/ sandbox/confine.h"
	may["backends"] = "backends/ proto/ gen/ sandbox/confine.h"
	may["schema"] = "schema/ proto/resource.def proto/lane_counters.def proto/backend_counters.def"
}
{
	from = substr($0, 1, index($0, "/") - 1)
	match($0, /"[^"]*"/)
	to = substr($0, RSTART + 1, RLENGTH - 2)
	ok = 0
	n = split(may[from], rule, " ")
	for (i = 1; i <= n; i++)
		if (index(to, rule[i]) == 1)
			ok = 1
	if (!ok) {
		print $0 ": " from " may not include " to
		bad = 1
	}
}
END { exit bad }
