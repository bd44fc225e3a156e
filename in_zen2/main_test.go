//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"errors"
	"log"
	"os"
	"testing"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M) {
	program := main
	if os.Getenv(impatient) != "" {
		program = isImpatient
	}
	zentest.Main(m, program)
}

func TestServer(t *testing.T)      { zentest.Test(t, server) }
func BenchmarkServer(b *testing.B) { zentest.Benchmark(b, server) }

var server = zentest.Server{AtOnce: 1, Inetd: "wait"}

// impatient is the environment variable that makes the program wait for a client for
// a millisecond, in place of 8 seconds.
const impatient = "IN_ZEN2_IMPATIENT"

func isImpatient() {
	zen.RedirectOutput()
	listener := zen.StdinListener()
	listener.Timeout = time.Millisecond
	if err := zen.AcceptConnectionsForever(listener); !errors.Is(err, os.ErrDeadlineExceeded) {
		log.Fatal(err)
	}
	log.Print("left")
}

// What is not a listening socket is refused with one line that says why.
func TestStandardInput(t *testing.T) {
	zentest.CheckStandardInput(t, map[string]zentest.Result{
		"file":           {Stderr: "standard input is not a socket; inetd starts this program (see inetd.conf)\n", Status: 1},
		"TCP connection": {Log: "standard input is a client's connection; in inetd.conf, change nowait to wait\n", Status: 1},
		"TCP reset":      {Log: "standard input is a client's connection; in inetd.conf, change nowait to wait\n", Status: 1},
		"UDP":            {Log: "standard input: expected a TCP socket, got udp\n", Status: 1},
		"netlink":        {Log: "standard input: expected a TCP socket: file file+net /dev/stdin: protocol not supported\n", Status: 1},
	})
}

// The program exits after 8 seconds without a client, counted from the end of the
// last conversation, and the next client starts it again.
func TestIdle(t *testing.T) {
	t.Parallel()
	zentest.CheckIdle(t, server, 8*time.Second)
}

// A client that connects at the moment in which the program leaves is served by
// the next one.
func TestClientWhileLeaving(t *testing.T) {
	t.Setenv(impatient, "1")
	zentest.CheckLeaving(t, server)
}
