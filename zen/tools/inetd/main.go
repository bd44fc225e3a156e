//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Inetd listens at the ports of an inetd.conf, and starts the program of a line
// when a client connects:
//
//	go build -o bin/ ./... && bin/inetd inetd.conf
//
// It is an inetd to read. It listens at the port of each line, and then serves each in a
// goroutine. It needs no root: it starts programs from its own folder, as the user who
// has started it. When inetd ends, programs that run go on. What nowait and wait mean is
// in zen/tools/inetd/superserver. The line to look at is the one that calls serve.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/inetd/superserver"
)

// open listens for the service of a line, such as
//
//	1060 stream tcp nowait brandon /usr/bin/in_zen1 in_zen1
//
// and returns a function that serves it. In place of the port there may be an address,
// such as 127.0.0.1:1060.
func open(line, folder string) (serve func() error, err error) {
	var address, mode, user, program, name string
	_, err = fmt.Sscanf(line, "%s stream tcp %s %s %s %s", &address, &mode, &user, &program, &name)
	mode, _, _ = strings.Cut(mode, ".") // a limit may follow, as in nowait.1000
	serveMode := superserver.Serve[mode]
	if err != nil || serveMode == nil {
		return nil, fmt.Errorf("expected port stream tcp nowait|wait user program name, got %q", line)
	}
	program = filepath.Join(folder, filepath.Base(program))
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("expected a program at %s; inetd looks only in its own folder", program)
	}
	if !strings.Contains(address, ":") {
		address = ":" + address // every interface
	}
	tcp, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		err = fmt.Errorf("%w; stop the server that runs there", err)
	}
	if err != nil {
		return nil, err
	}
	log.Printf("Listening at %v for %s", tcp.Addr(), name)
	listener := zen.Listener{TCPListener: tcp.(*net.TCPListener)}
	command := func() *exec.Cmd { return &exec.Cmd{Path: program, Args: strings.Fields(line)[6:]} }
	return func() error { return serveMode(listener, command) }, nil
}

func main() {
	log.SetFlags(0)
	// The reader of the log may leave. Not Ignore, which the programs would inherit.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
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
	self, _ := os.Executable() // if this fails, no program is found
	folder := filepath.Dir(self)
	var services []func()
	for i, line := range strings.Split(string(text), "\n") {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		place := fmt.Sprintf("%s:%d", file, i+1) // such as inetd.conf:2
		serve, err := open(line, folder)
		if err != nil {
			log.Fatalf("%s: %v", place, err)
		}
		services = append(services, func() { log.Printf("%s: no further clients: %v", place, serve()) })
	}

	ended := make(chan bool)
	for _, serve := range services {
		go func() { serve(); ended <- true }()
	}
	for range services {
		<-ended
	}
	log.Fatalf("%s has no service that listens", file)
}
