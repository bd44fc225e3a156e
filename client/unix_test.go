//go:build unix

package main

import (
	"syscall"
	"testing"
)

// Signals that the program does not care for interrupt its system calls, and
// nothing else.
func TestSignals(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		conn := s.connect(t)
		for range 500 {
			s.signal(syscall.SIGURG)
			s.signal(syscall.SIGWINCH)
			ask(t, conn)
		}
	})
}
