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
	zentest.CheckStandardInput(t, map[string]zentest.Exit{
		"none":          {"standard input is not a socket; inetd starts this program (see inetd.conf)\n", 1},
		"TCP listener":  {"standard input is a listening socket; in inetd.conf, change wait to nowait\n", 1},
		"UDP":           {"standard input: expected a TCP socket, got udp\n", 1},
		"UNIX listener": {"standard input: expected a TCP socket, got unix\n", 1},
		"UNIX":          {"standard input: expected a TCP socket, got unix\n", 1},
		"TCP reset":     {"The client has left before this program started\n", 0},
	})
}
