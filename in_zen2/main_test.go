//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"testing"

	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M)        { zentest.Main(m, main) }
func TestServer(t *testing.T)      { zentest.Test(t, server) }
func BenchmarkServer(b *testing.B) { zentest.Benchmark(b, server) }

var server = zentest.Server{AtOnce: 1, Inetd: "wait"}
