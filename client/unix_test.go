//go:build unix

package main

import (
	"os"
	"os/exec"
	"regexp"
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

// The kernel hangs up for a client that is killed.
func TestKilledClient(t *testing.T) {
	eachServer(t, func(t *testing.T, server server) {
		s := start(t, server)
		conn := s.connect(t)
		ask(t, conn)
		file, err := conn.File()
		if err != nil {
			t.Fatal(err)
		}
		client := exec.Command("sleep", "60")
		client.ExtraFiles = []*os.File{file}
		if err := client.Start(); err != nil {
			t.Fatal(err)
		}
		address := conn.LocalAddr().String()
		file.Close()
		conn.Close()
		client.Process.Kill()
		client.Wait()
		s.log.await(t, "^Client socket to "+regexp.QuoteMeta(address)+" has closed$")
		s.serveOne(t)
	})
}
