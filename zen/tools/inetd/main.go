// Inetd listens at the ports of an inetd.conf, and starts the program of a line
// when a client connects:
//
//	go build -o bin/ ./... && bin/inetd inetd.conf
//
// It is an inetd to read. It reads all lines (conf.go), listens at all ports, and
// serves each line in a goroutine. It needs no root: it starts programs from its own
// folder, as the user who has started it. What nowait and wait mean is in
// zen/tools/inetd/superserver. The line to look at is the one that calls
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
	"sync"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/system"
	"fopnp/chapter07/zen/tools/inetd/superserver"
)

// A service is a line of inetd.conf.
type service struct {
	place    string // of the line, such as inetd.conf:2
	address  string
	mode     string // "nowait" or "wait"
	program  string // its path
	args     []string
	listener zen.Listener
	due      time.Time // under wait: when the program may start again
}

// pause is the time between two tries to start a program, and at least the time
// between two starts under wait: a program that ends without accepting its client
// would otherwise start thousands of times.
const pause = time.Second

var (
	starting sync.Mutex     // held while a program starts, and when inetd ends
	running  sync.WaitGroup // the programs that run
)

// serve serves clients until that is impossible. When ctx is done, its programs are
// killed.
func (s *service) serve(ctx context.Context) error {
	log.Printf("Listening at %v for %s (%s)", s.listener.Addr(), s.args[0], s.mode)
	serve := superserver.Nowait
	if s.mode == "wait" {
		serve = superserver.Wait
	}
	return serve(s.listener, func(socket superserver.Socket) (<-chan struct{}, error) {
		if client, ok := socket.(net.Conn); ok {
			log.Printf("Accepted connection from %v", client.RemoteAddr())
		} else {
			log.Printf("A client is in the queue at %v", s.listener.Addr())
			time.Sleep(time.Until(s.due))
			s.due = time.Now().Add(pause)
		}
		return s.start(ctx, socket), nil
	})
}

// start starts the program with socket, and returns a channel that is closed when
// the program has ended. If the program cannot be started, start tries again until
// ctx is done.
func (s *service) start(ctx context.Context, socket superserver.Socket) (ended chan struct{}) {
	command, err := s.tryStart(ctx, socket)
	for err != nil && ctx.Err() == nil {
		log.Printf("Start error: %v; retrying in %v", err, pause)
		time.Sleep(pause)
		command, err = s.tryStart(ctx, socket)
	}
	ended = make(chan struct{})
	if err != nil { // inetd ends
		return ended
	}
	pid := command.Process.Pid
	log.Printf("Started %s as process %d", s.args[0], pid)
	go func() {
		command.Wait() // without it, a process that has ended remains as a zombie
		log.Printf("Ended process %d: %v", pid, command.ProcessState)
		close(ended)
		running.Done()
	}()
	return ended
}

func (s *service) tryStart(ctx context.Context, socket superserver.Socket) (*exec.Cmd, error) {
	starting.Lock()
	defer starting.Unlock()
	command := exec.CommandContext(ctx, s.program)
	command.Args = s.args
	err := superserver.Start(command, socket)
	if err == nil {
		running.Add(1)
	}
	return command, err
}

func main() {
	log.SetFlags(0)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // the reader of the log may leave
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: inetd FILE\nAn inetd to read. FILE is an inetd.conf; the programs are in inetd's own folder.")
	}
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintf(flag.CommandLine.Output(), "expected one file, got %q\n", flag.Args())
		flag.Usage()
		os.Exit(2)
	}
	if system.Missing != nil {
		log.Fatal(system.Missing)
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
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	for _, s := range services {
		go func() {
			log.Printf("%s: %v", s.place, s.serve(ctx))
			stop()
		}()
	}
	<-ctx.Done()
	stop()          // a second signal ends inetd even if nobody reads its log
	starting.Lock() // no program starts from here on
	running.Wait()
	os.Exit(1)
}
