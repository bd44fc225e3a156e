//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Inetd listens at the ports of an inetd.conf, and starts the program of a line
// when a client connects:
//
//	go build -o bin/ ./... && bin/inetd inetd.conf
//
// It is an inetd to read. It listens at the port of each line, and then serves each in a
// goroutine. It needs no root: it starts programs from its own folder, as the user who
// has started it. What nowait and wait mean is in zen/tools/inetd/superserver. The line
// to look at is the one that calls Serve.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/inetd/superserver"
)

// open listens for the service of a line: port, stream, tcp, nowait or wait, user,
// program, and the program's arguments with its name first. In place of the port there
// may be an address, such as 127.0.0.1:1060.
func open(fields []string, folder string) (*superserver.Service, error) {
	if len(fields) < 6 || fields[1] != "stream" || fields[2] != "tcp" {
		return nil, fmt.Errorf("expected port stream tcp nowait|wait user program, got %q", strings.Join(fields, " "))
	}
	mode, _, _ := strings.Cut(fields[3], ".") // a limit may follow, as in nowait.1000
	if mode != "nowait" && mode != "wait" {
		return nil, fmt.Errorf("expected nowait or wait, got %q", fields[3])
	}
	program := filepath.Join(folder, filepath.Base(fields[5]))
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("expected a program at %s; inetd looks only in its own folder", program)
	}
	args := fields[6:]
	if len(args) == 0 {
		args = []string{filepath.Base(program)}
	}
	address := fields[0]
	if !strings.Contains(address, ":") {
		address = ":" + address // every interface
	}
	listener, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; stop the server that runs there", err)
	}
	if err != nil {
		return nil, err
	}
	return &superserver.Service{
		Listener: zen.Listener{TCPListener: listener.(*net.TCPListener)},
		Wait:     mode == "wait",
		Command:  func() *exec.Cmd { return &exec.Cmd{Path: program, Args: args} },
		Pause:    time.Second,
	}, nil
}

func main() {
	log.SetFlags(0)
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: inetd FILE\nAn inetd to read. FILE is an inetd.conf; the programs are in inetd's own folder.")
	}
	flag.Parse()
	if flag.NArg() != 1 {
		fmt.Fprintf(flag.CommandLine.Output(), "expected one file, got %d\n", flag.NArg())
		flag.Usage()
		os.Exit(2)
	}
	file := flag.Arg(0)
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		log.Fatal(err)
	}
	services := map[string]*superserver.Service{} // by the place of the line, such as inetd.conf:2
	for i, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		place := fmt.Sprintf("%s:%d", file, i+1)
		if services[place], err = open(fields, filepath.Dir(self)); err != nil {
			log.Fatalf("%s: %v", place, err)
		}
	}
	if len(services) == 0 {
		log.Fatalf("%s: expected at least one service", file)
	}

	log.Printf("Starting programs from %s, as the user who runs inetd", filepath.Dir(self))
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // the reader of the log may leave
	ends := []os.Signal{syscall.SIGINT, syscall.SIGHUP}
	ends = slices.DeleteFunc(ends, signal.Ignored) // as nohup ignores SIGHUP
	ctx, stop := signal.NotifyContext(context.Background(), append(ends, syscall.SIGTERM)...)
	context.AfterFunc(ctx, stop) // a second signal ends inetd even if nobody reads its log
	var serving sync.WaitGroup
	for place, s := range services {
		serving.Add(1)
		go func() {
			defer serving.Done()
			log.Printf("%s: no further clients: %v", place, s.Serve(ctx))
		}()
	}
	go func() { serving.Wait(); stop() }()
	<-ctx.Done()
	for _, s := range services {
		s.End()
	}
	os.Exit(1)
}
