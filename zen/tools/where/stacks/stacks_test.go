package stacks

import "testing"

// Forms of a stack, and what is no stack.
func TestPicture(t *testing.T) {
	for dump, want := range map[string]string{
		"SIGQUIT: quit\n\nrax    0x0\nexit status 2\n": "",
		"SIGQUIT: quit\nmain.f()\n":                    "", // no goroutine
		// The time is cut, and several processes make one picture. Lines end as on Windows.
		"goroutine 1 [IO wait, 2 minutes]:\r\nmain.main()\r\n\t/x/main.go:3 +0x5\r\n\r\n" +
			"goroutine 1 gp=0x1 m=nil [IO wait, locked to thread]:\r\nmain.main()\r\n\t/x/main.go:3 +0x5\r\n": "2 IO wait      main\n",
		// No function of ours, and one that is only in the line of who started it, or in
		// the stack of who started it (GODEBUG=tracebackancestors=1).
		"goroutine 7 [select]:\nnet/http.serve(...)\n\t/x/a.go:1\ncreated by main.main in goroutine 1\n\t/x/main.go:3 +0x5\n" +
			"[originating from goroutine 1]:\nmain.main(...)\n\t/x/main.go:3 +0x5\n": "",
		// A closure that the compiler has not moved into its caller, a generic type, a
		// method of the same name, and a package in a package's folder.
		"goroutine 9 [select (no cases)]:\n" +
			"main.(*box[...]).get(0x1)\n\t/x/main.go:3\n" +
			"main.main.func1.(*Poller).Events.func2(...)\n\t/x/main.go:3\n" +
			"fopnp/chapter07/zen/poll.(*Poller).Events.func1(0x2)\n\t/x/main.go:3\n" +
			"fopnp/chapter07/zen/tools/inetd/superserver.Serve({0x1, 0x2}, 0x3)\n\t/x/main.go:3\n" +
			"main.main-range1({0x1})\n\t/x/main.go:3\n" +
			"main.main.func1()\n\t/x/main.go:3\n" +
			"main.main.gowrap1()\n\t/x/main.go:3\n": "1 select (no cases) main > superserver.Serve > box[...].get\n",
	} {
		if got := Picture(dump); got != want {
			t.Errorf("%q: got %q, want %q", dump, got, want)
		}
	}
}
