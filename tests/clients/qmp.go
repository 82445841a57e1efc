// qmp.go - drives a QMP server with digitalocean's go-qemu, unmodified.
//
// Usage: qmp SOCKET. Ends with 0 and "done" when everything was as expected.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/digitalocean/go-qemu/qmp"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func main() {
	mon, err := qmp.NewSocketMonitor("unix", os.Args[1], 5*time.Second)
	check(err)
	check(mon.Connect())
	events, err := mon.Events(nil)
	_ = events
	run := func(command string) []byte {
		answer, err := mon.Run([]byte(command))
		check(err)
		return answer
	}
	var version struct{ Return qmp.Version }
	check(json.Unmarshal(run(`{"execute": "query-version"}`), &version))
	fmt.Println("version", version.Return)
	schema := run(`{"execute": "query-qmp-schema"}`)
	fmt.Println("schema", len(schema))
	run(`{"execute": "netdev_add", "arguments":
		{"type": "hubport", "id": "go", "hubid": 4}}`)
	if _, err := mon.Run([]byte(`{"execute": "netdev_del",
		"arguments": {"id": "nosuch"}}`)); err == nil {
		check(fmt.Errorf("netdev_del of nothing succeeded"))
	}
	run(`{"execute": "netdev_del", "arguments": {"id": "go"}}`)
	check(mon.Disconnect())
	fmt.Println("done")
}
