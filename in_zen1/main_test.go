//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"testing"

	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M)        { zentest.Main(m, main) }
func TestServer(t *testing.T)      { zentest.Test(t, server) }
func BenchmarkServer(b *testing.B) { zentest.Benchmark(b, server) }

var server = zentest.Server{Inetd: "nowait"}

// What is not a client's connection is refused with one line that says why.
func TestStandardInput(t *testing.T) {
	zentest.CheckStandardInput(t, map[string]zentest.Result{
		"file":         {Stderr: "standard input is not a socket; inetd starts this program (see inetd.conf)\n", Status: 1},
		"TCP listener": {Log: "standard input is a listening socket; in inetd.conf, change wait to nowait\n", Status: 1},
		"UDP":          {Log: "standard input: expected a TCP socket, got udp\n", Status: 1},
		"netlink":      {Log: "standard input: expected a TCP socket: file file+net /dev/stdin: protocol not supported\n", Status: 1},
		"TCP reset":    {Log: "The client has left before this program started\n", Status: 0},
	})
}
