# tables.awk - a manual page with what the schema compiler wrote about it.
#
# Variables: dir, where the compiler's tables are; version; bridge_conf.
# A line `.\" table NAME` is replaced by dir/NAME.mdoc, @VERSION@ and
# @BRIDGE_CONF@ by the values.
/^\.\\" table / {
	file = dir "/" $3 ".mdoc"
	lines = 0
	while ((getline line < file) > 0) {
		print line
		lines++
	}
	close(file)
	if (!lines) {
		print "tables.awk: nothing in " file > "/dev/stderr"
		exit 1
	}
	next
}
{
	gsub(/@VERSION@/, version)
	gsub(/@BRIDGE_CONF@/, bridge_conf)
	print
}
