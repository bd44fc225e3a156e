//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Where shows where servers wait while three clients are connected and silent: it prints
// the functions that each goroutine is in.
//
//	go build -o bin/ ./... && bin/where bin/srv_* bin/in_*
//
// It starts each program, connects the clients, and sends the program SIGQUIT: a Go
// program then prints the stacks of its goroutines and ends (stacks/dump.go).
//
// Without programs Where is a filter, for a server that you start yourself. Press
// Control-\ to send SIGQUIT:
//
//	bin/srv_legacy '' 2>&1 | bin/where
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"fopnp/chapter07/zen/tools/where/stacks"
)

// show prints the picture of the stacks in dump, with name at its left.
func show(output io.Writer, name, dump string) error {
	picture := stacks.Picture(dump)
	if picture == "" {
		return errors.New("no stack has a function of this repository")
	}
	for row := range strings.Lines(picture) {
		if _, err := fmt.Fprintf(output, "%s%s", name, row); err != nil {
			return err
		}
		name = strings.Repeat(" ", len(name))
	}
	return nil
}

// filter copies input to output up to the stacks, and shows their picture in place of
// them. A line of a log may look like the first line of the stacks.
func filter(output io.Writer, input io.Reader) error {
	lines := bufio.NewReader(input)
	for {
		line, err := lines.ReadString('\n')
		if strings.TrimSpace(line) == stacks.FirstLine {
			if next, _ := lines.Peek(3); string(next) == "PC=" {
				break
			}
		}
		if _, err := io.WriteString(output, line); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	dump, err := io.ReadAll(lines)
	if err != nil {
		return err
	}
	if stacks.Picture(string(dump)) == "" { // a program of another repository
		_, err := io.WriteString(output, stacks.FirstLine+"\n"+string(dump))
		return err
	}
	fmt.Fprintln(output)
	return show(output, "", string(dump))
}

// attributes give each program a process group, to end it with all that it has started.
var attributes = syscall.SysProcAttr{Setpgid: true}

// run returns the stacks of program.
func run(ctx context.Context, program string) (dump string, err error) {
	if _, err := exec.LookPath(program); err != nil {
		return "", err
	}
	const patience = 20 * time.Second
	ctx, end := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no stacks within %v", patience))
	defer end()
	inetd := map[string]string{"in_zen1": "nowait", "in_zen2": "wait"}[filepath.Base(program)]
	return stacks.Dump(ctx, inetd, time.Second/10, func(args ...string) *exec.Cmd {
		command := exec.Command(program, args...)
		command.SysProcAttr = &attributes
		return command
	})
}

func main() {
	log.SetFlags(0)
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: where [PROGRAM ...]\nShows where each program waits while three clients are silent. Without PROGRAM\nit reads the output of a server: press Control-\\ to see where that server waits.")
	}
	flag.Parse()
	if flag.NArg() == 0 {
		quit := make(chan os.Signal, 1)
		signal.Notify(quit, syscall.SIGQUIT) // the terminal sends it to the filter too
		if stdin, err := os.Stdin.Stat(); err == nil && stdin.Mode()&os.ModeCharDevice != 0 {
			fmt.Fprintln(os.Stderr, "where: reading what a server prints on SIGQUIT; -h says more")
			go func() {
				<-quit
				os.Exit(1)
			}()
		}
		if err := filter(os.Stdout, os.Stdin); err != nil {
			log.Fatal(err)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	for _, program := range flag.Args() {
		dump, err := run(ctx, program)
		if err == nil {
			err = show(os.Stdout, fmt.Sprintf("%-13s", filepath.Base(program)), dump)
		}
		if err != nil {
			log.Fatalf("%s: %v", program, err)
		}
	}
}
