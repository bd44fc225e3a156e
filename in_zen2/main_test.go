package main

import (
	"testing"

	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M)        { zentest.Main(m, main) }
func TestServer(t *testing.T)      { zentest.Test(t, server) }
func BenchmarkServer(b *testing.B) { zentest.Benchmark(b, server) }

var server = zentest.Server{AtOnce: 1, Thinking: 1, Inetd: "wait"}

// What is not a listening socket is refused with one line that says why.
func TestStandardInput(t *testing.T) {
	zentest.CheckStandardInput(t, map[string]zentest.Result{
		"none":           {Stderr: "standard input is not a socket; inetd starts this program (see inetd.conf)\n", Status: 1},
		"TCP connection": {Log: "standard input is a client's connection; in inetd.conf, change nowait to wait\n", Status: 1},
		"TCP reset":      {Log: "standard input is a client's connection; in inetd.conf, change nowait to wait\n", Status: 1},
		"UDP":            {Log: "standard input: expected a TCP socket, got udp\n", Status: 1},
		"UNIX listener":  {Log: "standard input: expected a TCP socket, got unix\n", Status: 1},
		"netlink":        {Log: "standard input: expected a TCP socket: file file+net /dev/stdin: protocol not supported\n", Status: 1},
		"UNIX":           {Log: "standard input: expected a TCP socket, got unix\n", Status: 1},
	})
}

// The program exits after 8 seconds without a client, counted from the end of the
// last conversation, and the next client starts it again.
func TestIdle(t *testing.T) {
	t.Parallel()
	zentest.CheckIdle(t, server, 8)
}

// A client that connects at the moment in which the program leaves is served by
// the next one.
func TestClientWhileLeaving(t *testing.T) {
	t.Parallel()
	zentest.CheckLeaving(t, server)
}
