package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// readConf returns the services of an inetd.conf. It looks for the programs in
// folder.
func readConf(file, folder string) (services []*service, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(string(text), "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		place := fmt.Sprintf("%s:%d", file, i+1)
		s, err := parse(fields, folder)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		s.place = place
		services = append(services, s)
	}
	if services == nil {
		return nil, errors.New(file + ": expected at least one service")
	}
	return services, nil
}

// parse returns the service of a line's fields: port, stream, tcp, nowait or wait,
// user, program, and the program's arguments with its name first. In place of the
// port there may be an address, such as 127.0.0.1:1060.
func parse(fields []string, folder string) (*service, error) {
	if len(fields) < 6 {
		return nil, fmt.Errorf("expected port, stream, tcp, nowait or wait, user, program; got %d fields", len(fields))
	}
	if fields[1] != "stream" || fields[2] != "tcp" {
		return nil, fmt.Errorf("expected stream tcp, got %s %s", fields[1], fields[2])
	}
	mode, _, _ := strings.Cut(fields[3], ".") // a limit may follow, as in nowait.1000
	if mode != "nowait" && mode != "wait" {
		return nil, fmt.Errorf("expected nowait or wait, got %s", fields[3])
	}
	program := filepath.Join(folder, filepath.Base(fields[5]))
	if _, err := exec.LookPath(program); err != nil {
		return nil, fmt.Errorf("expected a program at %s; inetd looks only in its own folder", program)
	}
	address := fields[0]
	if !strings.Contains(address, ":") {
		address = ":" + address // every interface
	}
	args := fields[6:]
	if len(args) == 0 {
		args = []string{filepath.Base(program)}
	}
	return &service{address: address, mode: mode, program: program, args: args}, nil
}
