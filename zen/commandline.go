package zen

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unicode"
)

// ParseCommandLine reads a program's arguments, which are a host, -p PORT and -think
// TIME in any order. It sets [ThinkingTime], and returns the address for
// [net.Listen] or [net.Dial]. Define the program's own flags with package flag before
// the call. For -h ParseCommandLine prints a usage with description, and exits with
// status 0. If an argument is wrong, it prints one line and the usage, and exits with
// status 2.
//
// It also sets up package log for a command: no date before each line, and if
// standard error is a pipe whose reader exits, the program goes on.
func ParseCommandLine(description string) (address string) {
	log.SetFlags(0)
	signal.Ignore(syscall.SIGPIPE)
	port := "1060"
	flag.Func("p", "TCP `port`, 0 to 65535 (default 1060)", func(text string) error {
		if _, err := strconv.ParseUint(text, 10, 16); err != nil {
			return errors.New("not a port")
		}
		port = text
		return nil
	})
	flag.DurationVar(&ThinkingTime, "think", ThinkingTime, "how long a server thinks about each question, and the client before each; in watch, the length of a tick")
	flag.CommandLine.Usage = func() {
		name := strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe")
		fmt.Fprintf(flag.CommandLine.Output(), `usage: %s [flags] host
%s
  host
    	where a server listens, or the client connects; '' is every interface, or this machine
`, name, description)
		flag.PrintDefaults()
	}
	// Package flag stops at the first argument that is not a flag. Take that for
	// the host, and parse the arguments after it.
	var hosts []string
	for flag.Parse(); flag.NArg() > 0; flag.CommandLine.Parse(flag.Args()[1:]) {
		hosts = append(hosts, flag.Arg(0))
	}
	if len(hosts) != 1 || strings.ContainsFunc(hosts[0], unicode.IsControl) {
		fmt.Fprintf(flag.CommandLine.Output(), "expected one host, got %q\n", hosts)
		flag.CommandLine.Usage()
		os.Exit(2)
	}
	host := strings.Trim(hosts[0], "[]'") // of [::1], and of '' in cmd.exe, which passes the quotes on
	return net.JoinHostPort(host, port)
}
