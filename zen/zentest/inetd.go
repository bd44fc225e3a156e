//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package zentest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/inetd/superserver"
)

// beInetd starts this binary as the program when a client connects, until the
// listening socket is destroyed.
func beInetd() {
	log.SetFlags(0)
	log.SetPrefix("inetd: ")
	signal.Ignore(crash, destroy) // they are for the program
	wait := os.Getenv(inetdVariable) == "wait"
	os.Unsetenv(inetdVariable)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	service := superserver.Service{
		Listener: zen.Listener{TCPListener: listener.(*net.TCPListener)},
		Wait:     wait,
		Command: func() *exec.Cmd {
			command := Program()
			command.SysProcAttr.Setpgid = false // one group for all, which the suite ends
			return command
		},
		Pause: time.Second,
		Log:   log.Default(),
	}
	log.Fatal(service.Serve(context.Background()))
}

func inetdStarts(s Server) bool { return s.Inetd != "" }

var nothingButAnswers = rule{
	name:    "NothingButAnswers",
	promise: "Under inetd nothing but answers reaches a client, whatever the log file is and whatever goes wrong.",
	mend:    "call zen.RedirectOutput first: standard output and standard error are the client's socket.",
	applies: inetdStarts,
	check: func(t *testing.T, server Server) {
		write := func(path string) error { return os.WriteFile(path, []byte("precious"), 0o666) }
		for what, plant := range map[string]func(path string) error{
			"nothing":                  func(path string) error { return nil },
			"a directory":              func(path string) error { return os.Mkdir(path, 0o755) },
			"a pipe":                   func(path string) error { return syscall.Mkfifo(path, 0o666) },
			"a symlink to nothing":     func(path string) error { return os.Symlink(path+".victim", path) },
			"a symlink to a file":      func(path string) error { return errors.Join(write(path+".victim"), os.Symlink(path+".victim", path)) },
			"a second name of a file":  func(path string) error { return errors.Join(write(path+".victim"), os.Link(path+".victim", path)) },
			"a file that is read-only": func(path string) error { return os.WriteFile(path, nil, 0o444) },
		} {
			path := t.TempDir() + "/zen.log"
			if err := plant(path); err != nil {
				t.Fatal(err)
			}
			s := start(t, server, options{environment: []string{"ZEN_LOG=" + path}})
			for _, data := range []string{"", question, question + "Beau", "\x00\xff?" + question, question + tooLong} {
				s.exchange(t, data, func() int { return 1 << 30 })
			}
			if what == "a pipe" { // that nobody has read until now
				pipe, err := os.OpenFile(path, os.O_RDWR, 0)
				if err != nil {
					t.Fatal(err)
				}
				s.serveOne(t)
				s.rests(t)
				pipe.SetReadDeadline(time.Now().Add(time.Millisecond))
				if n, err := pipe.Read(make([]byte, 100)); n > 0 || !os.IsTimeout(err) {
					t.Errorf("It writes %d bytes to a pipe, %v.", n, err)
				}
				pipe.Close()
			}
			s.rests(t)
			s.stop(t)
			if victim, err := os.ReadFile(path + ".victim"); err == nil && string(victim) != "precious" {
				t.Errorf("With %s for a log, it writes %q to another file.", what, victim)
			}
			if status, err := os.Stat(path); what == "nothing" && (err != nil || status.Mode().Perm() != 0o644 || status.Size() == 0) {
				t.Errorf("The log should be one that only its owner may write, and is %+v, %v.", status, err)
			}
		}
		// A panic goes to the log too.
		s := start(t, server, options{})
		c := s.connect(t)
		c.ask()
		deliver(s.command.Process, crash)
		c.expectHangUp()
		s.await(t, 1, `^panic: on purpose`)
		s.await(t, 1, `^inetd: Ended process \d+: exit status 2$`)
		s.serveOne(t)
	},
}

// CheckStandardInput runs the program with each kind of file as its standard input,
// and compares how it ends. The kinds are "file", "UDP", "netlink", "TCP listener",
// "TCP connection" and "TCP reset", a connection that the client has reset.
func CheckStandardInput(t *testing.T, want map[string]Result) {
	for kind, want := range want {
		t.Run(kind, func(t *testing.T) {
			command := Program()
			command.Stdin = standardInput(t, kind)
			if got := Run(t, command); got != want {
				t.Errorf("with %s for standard input the program should end with %+v, and ended with %+v", kind, want, got)
			}
		})
	}
}

func standardInput(t *testing.T, kind string) (file *os.File) {
	defer func() { t.Cleanup(func() { file.Close() }) }()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	defer listener.Close()
	client, err := net.Dial("tcp", listener.Addr().String())
	must(err)
	t.Cleanup(func() { client.Close() })
	conn, err := listener.Accept()
	must(err)
	defer conn.Close()
	socket := conn.(interface{ File() (*os.File, error) })
	switch kind {
	case "file":
		file, err = os.Open(os.DevNull)
		must(err)
		return file
	case "netlink": // a family that package net does not know
		if runtime.GOOS != "linux" {
			t.Skip("SKIPPED: only Linux has netlink sockets")
		}
		fd, err := syscall.Socket(16, syscall.SOCK_RAW, 0)
		must(err)
		return os.NewFile(uintptr(fd), kind)
	case "UDP":
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		must(err)
		defer packets.Close()
		socket = packets.(*net.UDPConn)
	case "TCP listener":
		socket = listener.(*net.TCPListener)
	case "TCP connection":
		io.WriteString(client, question)
		client.(*net.TCPConn).CloseWrite()
	case "TCP reset":
		client.(*net.TCPConn).SetLinger(0)
		client.Close()
		conn.Read(make([]byte, 1)) // waits until it has arrived
	}
	file, err = socket.File()
	must(err)
	return file
}

// CheckIdle checks that a server under inetd exits when no client has come for a
// while, and not in the middle of a conversation, and that the next client starts it
// again.
func CheckIdle(t *testing.T, server Server, while time.Duration) {
	s := start(t, server, options{})
	c := s.connect(t)
	c.ask()
	time.Sleep(while + time.Second)
	c.ask() // it has not left in the middle of a conversation
	left := time.Now()
	c.Close()
	s.await(t, 1, `^inetd: Ended process \d+: exit status 0$`)
	if waited := time.Since(left); waited < while {
		t.Fatalf("the program should exit after %v, and exited after %v", while, waited)
	}
	s.serveOne(t)
}

// CheckLeaving checks that no client is lost that connects while a server under
// inetd leaves. The server should leave at once, and say "left".
func CheckLeaving(t *testing.T, server Server) {
	s := start(t, server, options{})
	for i := range 30 {
		s.serveOne(t)
		s.await(t, i+1, `^left$`) // it has still to exit
	}
	for range 200 { // some come while it waits, some while it leaves
		s.serveOne(t)
		time.Sleep(900 * time.Microsecond)
	}
}
