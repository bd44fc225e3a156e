package zen

import (
	"flag"
	"io"
	"log"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseCommandLine(t *testing.T) {
	args, commandLine, thinking := os.Args, flag.CommandLine, ThinkingTime
	defer func() {
		os.Args, flag.CommandLine, ThinkingTime = args, commandLine, thinking
		log.SetFlags(log.LstdFlags)
		signal.Reset(syscall.SIGPIPE)
	}()
	for _, test := range []struct {
		args     string // between bars
		address  string
		thinking time.Duration
	}{
		{"localhost", "localhost:1060", 0},
		{"", ":1060", 0},
		{"''", ":1060", 0},
		{"::1", "[::1]:1060", 0},
		{"[::1]", "[::1]:1060", 0},
		{"-p|0|localhost", "localhost:0", 0},
		{"localhost|-p|65535", "localhost:65535", 0},
		{"-think|1s|localhost|-p=1069", "localhost:1069", time.Second},
	} {
		ThinkingTime = 0
		os.Args = append([]string{"srv"}, strings.Split(test.args, "|")...)
		flag.CommandLine = flag.NewFlagSet("srv", flag.PanicOnError)
		if got := ParseCommandLine("A server."); got != test.address || ThinkingTime != test.thinking {
			t.Errorf("%q: address %q, thinks %v; want %q, %v", os.Args, got, ThinkingTime, test.address, test.thinking)
		}
	}
	for _, port := range []string{"65536", "-1", "http", ""} {
		os.Args = []string{"srv", "-p", port, "localhost"}
		flag.CommandLine = flag.NewFlagSet("srv", flag.PanicOnError)
		flag.CommandLine.SetOutput(io.Discard)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("port %q is accepted", port)
				}
			}()
			ParseCommandLine("A server.")
		}()
	}
	if log.Flags() != 0 {
		t.Errorf("the flags of package log are %d", log.Flags())
	}
	if !signal.Ignored(syscall.SIGPIPE) {
		t.Error("a reader of the log that leaves ends the program")
	}
}
