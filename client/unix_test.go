//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
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

// Where one read brings both, more answers than the kernel takes at once and the
// question too long, the client gets all of the answers. With the buffer that the
// loops have that cannot be; whoever takes a larger one must not be surprised.
func TestQuestionTooLongBehindAnswersUnsent(t *testing.T) {
	for _, server := range servers {
		if !strings.HasPrefix(server.name, "srv_async") || server.name == "srv_asyncio2" {
			continue
		}
		file, old := server.name+"/main.go", "make([]byte, zen.MaxQuestion)"
		if server.name == "srv_asyncio1" {
			file, old = "zen/asyncio/asyncio.go", "make([]byte, 4096)"
		}
		dir := rebuild(t, file, old, "make([]byte, 65536)")
		s := startProgram(t, server, program(dir, server.name))
		s.signal(syscall.SIGSTOP)
		// Small segments make the kernel take less at a time.
		dialer := net.Dialer{Control: func(_, _ string, conn syscall.RawConn) error {
			return conn.Control(func(fd uintptr) {
				syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536)
			})
		}}
		conn, err := dialer.Dial("tcp", s.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		const asked = 20_000
		send(t, conn, strings.Repeat("?", asked)+strings.Repeat("x", 5000))
		s.signal(syscall.SIGCONT) // and it finds all of that at once
		got, err := io.Copy(io.Discard, conn)
		if want := int64(asked * len("Error: unknown aphorism.")); got != want || err != nil {
			t.Errorf("%s: read %d bytes of answers, %v; want %d", server.name, got, err, want)
		}
		s.log.await(t, `error: question longer than 4096 bytes$`)
	}
}
