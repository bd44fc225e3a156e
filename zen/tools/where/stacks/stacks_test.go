package stacks

import (
	"os"
	"strings"
	"testing"
)

// The stacks that the programs have printed, with three silent clients.
func TestRecorded(t *testing.T) {
	for program, want := range map[string]string{
		"srv_single": `
1 IO wait       main > AcceptConnectionsForever > HandleConversation > handleRequest
`,
		"srv_threaded": `
1 chan receive  main > serve
3 IO wait       serve > AcceptConnectionsForever > HandleConversation > handleRequest
1 IO wait       serve > AcceptConnectionsForever > Listener.Accept
`,
		"srv_legacy": `
1 IO wait       main > socketserver.Serve > Listener.Accept
3 IO wait       socketserver.process > handle > HandleConversation > handleRequest
`,
		"srv_async": `
1 syscall       main > serve > poll.Poller.wait
`,
		"srv_asyncio1": `
1 syscall       main > asyncio.Serve > poll.Poller.wait
`,
		"srv_asyncio2": `
1 syscall       main > asyncio.Serve > poll.Poller.wait
3 coroutine     stream.ConnectionMade > HandleConversation > handleRequest > stream.Read
`,
		"srv_asyncore": `
1 syscall       main > asyncore.Loop > poll.Poller.wait
`,
	} {
		dump, err := os.ReadFile("testdata/" + program + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		// Git may have changed the ends of the lines.
		if got := "\n" + Picture(strings.ReplaceAll(string(dump), "\r", "")); got != want {
			t.Errorf("%s: got %s\nwant %s", program, got, want)
		}
	}
}

// Other forms of a stack, and what is no stack.
func TestForms(t *testing.T) {
	for dump, want := range map[string]string{
		"": "",
		"SIGQUIT: quit\n\nrax    0x0\nexit status 2\n": "",
		"SIGQUIT: quit\nmain.f()\n":                    "", // no goroutine
		// The time is cut, and a number of processes make one picture.
		"goroutine 1 [IO wait, 2 minutes]:\nmain.main()\n\t/x/main.go:3 +0x5\n\n" +
			"goroutine 1 gp=0x1 m=nil [IO wait, locked to thread]:\nmain.main()\n\t/x/main.go:3 +0x5\n": "2 IO wait       main\n",
		// No function of ours, and one that is only in the line of who started it.
		"goroutine 7 [select]:\nnet/http.serve(...)\n\t/x/a.go:1\ncreated by main.main in goroutine 1\n\t/x/main.go:3 +0x5\n": "",
		// A closure that the compiler has not moved into its caller, a generic type, a
		// method of the same name, and a package in a package's folder.
		"goroutine 9 [select (no cases)]:\n" +
			"main.(*box[...]).get(0x1)\n\t/x/main.go:3\n" +
			"main.main.func1.(*Poller).Events.func2(...)\n\t/x/main.go:3\n" +
			"fopnp/chapter07/zen/poll.(*Poller).Events.func1(0x2)\n\t/x/main.go:3\n" +
			"fopnp/chapter07/zen/tools/inetd/superserver.Wait({0x1, 0x2}, 0x3)\n\t/x/main.go:3\n" +
			"main.main-range1({0x1})\n\t/x/main.go:3\n" +
			"main.main.func1()\n\t/x/main.go:3\n" +
			"main.main.gowrap1()\n\t/x/main.go:3\n": "1 select (no cases)  main > superserver.Wait > box[...].get\n",
	} {
		if got := Picture(dump); got != want {
			t.Errorf("%q: got %q, want %q", dump, got, want)
		}
	}
}
