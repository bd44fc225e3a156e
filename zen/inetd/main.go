// Inetd listens at the ports of an inetd.conf, and starts the program of a line
// when a client connects:
//
//	go build -o bin/ ./... && bin/inetd inetd.conf
//
// It is an inetd to read. It reads all lines (conf.go), listens at all ports, and
// serves each line in a goroutine. It needs no root: it starts programs from its own
// folder, as the user who has started it. What nowait and wait mean is in
// zen/inetd/superserver. The line to look at is the one that calls
// superserver.Start.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/inetd/superserver"
)

// A service is a line of inetd.conf.
type service struct {
	place    string // of the line, such as inetd.conf:2
	address  string
	mode     string // "nowait" or "wait"
	name     string // of the program
	path     string
	args     []string
	listener zen.Listener
	due      time.Time // under wait: when the program may start again
}

// pause is the time between two tries to start a program, and between two starts
// under wait. A program that ends without accepting its client would otherwise start
// thousands of times.
const pause = time.Second

var (
	starting sync.Mutex     // held while a program starts, and when inetd ends
	running  sync.WaitGroup // the programs that run
)

// serve serves the clients of s. When ctx is done, its programs are killed.
func (s *service) serve(ctx context.Context) error {
	log.Printf("Listening at %v for %s (%s)", s.listener.Addr(), s.name, s.mode)
	start := func(socket superserver.Socket) (<-chan struct{}, error) { return s.start(ctx, socket), nil }
	if s.mode == "wait" {
		return superserver.Wait(s.listener, start)
	}
	return superserver.Nowait(s.listener, start)
}

// start starts the program with socket, and returns a channel that is closed when
// the program has ended.
func (s *service) start(ctx context.Context, socket superserver.Socket) <-chan struct{} {
	if client, ok := socket.(net.Conn); ok {
		log.Printf("Accepted connection from %v", client.RemoteAddr())
	} else {
		log.Printf("A client is in the queue at %v", s.listener.Addr())
		time.Sleep(time.Until(s.due))
		s.due = time.Now().Add(pause)
	}
	command, err := s.tryStart(ctx, socket)
	for err != nil {
		log.Printf("Start error: %v; retrying in %v", err, pause)
		time.Sleep(pause)
		command, err = s.tryStart(ctx, socket)
	}
	log.Printf("Started %s as process %d", s.name, command.Process.Pid)
	ended := make(chan struct{})
	go func() {
		command.Wait() // the system keeps a process that has ended until someone asks how
		log.Printf("Ended process %d: %v", command.Process.Pid, command.ProcessState)
		close(ended)
		running.Done()
	}()
	return ended
}

func (s *service) tryStart(ctx context.Context, socket superserver.Socket) (*exec.Cmd, error) {
	starting.Lock()
	defer starting.Unlock()
	command := exec.CommandContext(ctx, s.path, s.args...)
	command.Args[0] = s.name
	err := superserver.Start(command, socket)
	if err == nil {
		running.Add(1)
	}
	return command, err
}

func main() {
	log.SetFlags(0)
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: inetd FILE\nAn inetd to read. FILE is an inetd.conf; the programs are in inetd's own folder.")
	}
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintf(flag.CommandLine.Output(), "expected one file, got %q\n", flag.Args())
		flag.Usage()
		os.Exit(2)
	}
	if runtime.GOOS == "windows" {
		log.Fatal("inetd needs a system whose programs can inherit sockets, which Windows is not; srv_legacy runs there")
	}
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	services, err := readConf(flag.Arg(0), filepath.Dir(self))
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range services {
		listener, err := net.Listen("tcp", s.address)
		if err != nil {
			log.Fatalf("%s: %v", s.place, err)
		}
		s.listener = zen.Listener{TCPListener: listener.(*net.TCPListener)}
	}

	log.Printf("Starting programs from %s, as the user who runs inetd", filepath.Dir(self))
	ctx, kill := context.WithCancel(context.Background())
	end := make(chan error)
	for _, s := range services {
		go func() { end <- fmt.Errorf("%s: %w", s.place, s.serve(ctx)) }()
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	select {
	case err = <-end:
	case s := <-signals:
		err = fmt.Errorf("Received signal: %v", s)
	}
	starting.Lock() // no program starts from here on
	kill()
	running.Wait()
	log.Fatal(err)
}
