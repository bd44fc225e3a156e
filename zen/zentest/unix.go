//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package zentest

import (
	"log"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"fopnp/chapter07/zen"
	"fopnp/chapter07/zen/tools/inetd/superserver"
	"fopnp/chapter07/zen/tools/where/stacks"
)

// unixRules are those for which Unix is needed.
var unixRules = []rule{{
	name:    "PermanentError",
	promise: "If the listening socket is destroyed, the server ends at once with status 1 and says why.",
	mend:    "retry only an error of accept that can pass.",
	applies: func(s Server) bool { // only Linux lets a program destroy a socket that listens
		return s.ours() && s.Inetd != "nowait" && runtime.GOOS == "linux"
	},
	check: func(t *testing.T, server Server) {
		s := start(t, server)
		s.connect(t).ask() // inetd has started the program
		deliver(s.command.Process, destroy)
		if state := s.awaitEnd(t, "with status 1"); state != "exit status 1" {
			t.Errorf("The server should end with status 1, and ended with %s.", state)
		}
		text := s.printed()
		if n := len(regexp.MustCompile(`(?m)^accept.*invalid argument$`).FindAllString(text, -1)); n != 1 || strings.Contains(text, "retrying") {
			t.Error("The log should say why once (accept …: invalid argument), and nothing of retrying.")
		}
	},
}, {
	name:    "WhereItWaits",
	promise: "The README's table of stacks is what happens.",
	mend:    "compare the stacks with those under bin/where in README.md.",
	applies: Server.ours,
	check: func(t *testing.T, server Server) {
		expectInReadme(t, server, "\n%-13s%s\n\\S", func(step time.Duration) string {
			dump, err := stacks.Dump(t.Context(), step, (&service{Server: server}).newCommand())
			must(t, err)
			// Under test main is called by Main.
			rows := strings.ReplaceAll(strings.TrimSpace(stacks.Picture(dump)), "main > TestMain > zentest.Main > main", "main")
			return strings.ReplaceAll(rows, "\n", "\n"+strings.Repeat(" ", 13))
		})
	},
}, {
	name:    "StandardInput",
	promise: "If standard input is not what inetd passes, the program says so in one line.",
	mend:    "call zen.RedirectOutput, and then zen.StdinConn (nowait) or zen.StdinListener (wait).",
	applies: inetdStarts,
	check: func(t *testing.T, server Server) {
		log := func(line string) Result { return Result{Log: line + "\n", Status: 1} }
		expect := func(want Result, what string, input *os.File) {
			command := Program()
			command.Stdin = input
			defer input.Close() // fails if it is nil
			if got := Run(t, command); got != want {
				t.Errorf("With %s for standard input the program should end with %#v, and ended with %#v.", what, want, got)
			}
		}
		noSocket := "standard input is not a socket; inetd starts this program (see inetd.conf)\n"
		expect(Result{Stderr: noSocket, Status: 1}, "/dev/null", nil)

		routing, err := syscall.Socket(syscall.AF_ROUTE, syscall.SOCK_RAW, 0)
		must(t, err)
		want := log("standard input: expected a TCP socket: file file+net /dev/stdin: protocol not supported")
		expect(want, "a routing socket", os.NewFile(uintptr(routing), ""))

		file := func(socket any, err error) *os.File {
			must(t, err)
			file, err := socket.(interface{ File() (*os.File, error) }).File()
			must(t, err)
			return file
		}
		want = log("standard input: expected a TCP socket, got udp")
		expect(want, "a UDP socket", file(net.ListenPacket("udp", "127.0.0.1:0")))

		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		client, err := net.Dial("tcp", listener.Addr().String())
		must(t, err)
		reset, err := listener.Accept()
		must(t, err)
		client.(*net.TCPConn).SetLinger(0)
		client.Close()
		reset.Read(make([]byte, 1)) // waits until the reset has arrived
		want = log("standard input is a client's connection; in inetd.conf, change nowait to wait")
		if server.Inetd == "nowait" {
			want = log("standard input is a listening socket; in inetd.conf, change wait to nowait")
			expect(want, "a listening socket", file(listener, nil))
			want = Result{Log: "The client has left before this program started\n"}
		}
		expect(want, "a reset connection", file(reset, nil))
	},
}, {
	name:    "NothingButAnswers",
	promise: "Under inetd nothing but answers reaches a client, whatever the log file is and whatever goes wrong.",
	mend:    "call zen.RedirectOutput first: standard output and standard error are the client's socket.",
	applies: inetdStarts,
	check: func(t *testing.T, server Server) {
		for what, plant := range map[string]func(victim, path string) error{
			"nothing":                 func(_, path string) error { return nil },
			"a directory":             func(_, path string) error { return os.Mkdir(path, 0o755) },
			"a pipe":                  func(_, path string) error { return syscall.Mkfifo(path, 0o666) },
			"a symlink to a file":     os.Symlink,
			"a second name of a file": os.Link,
		} {
			path := t.TempDir() + "/zen.log"
			victim := path + ".victim"
			must(t, os.WriteFile(victim, []byte("precious"), 0o666))
			must(t, plant(victim, path))
			server.environment = "ZEN_LOG=" + path
			s := start(t, server)
			s.exchange(t, question+"Beau", whole) // two lines for the log
			if what == "a pipe" {                 // that nobody has read until now
				pipe, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK, 0)
				must(t, err)
				s.serveOne(t)
				s.rests()
				if n, _ := syscall.Read(pipe, make([]byte, 100)); n > 0 {
					t.Errorf("It writes %d bytes to a pipe.", n)
				}
				syscall.Close(pipe)
			}
			s.rests()
			if text, _ := os.ReadFile(victim); string(text) != "precious" {
				t.Errorf("With %s for a log, it writes %q to another file.", what, text)
			}
			if status, err := os.Stat(path); what == "nothing" && (err != nil || status.Mode().Perm() != 0o644 || status.Size() == 0) {
				t.Errorf("The log should be one that only its owner may write, and is %+v, %v.", status, err)
			}
		}
		// What Go prints at a panic goes to the log too. On SIGQUIT it prints the same.
		server.environment = ""
		s := start(t, server)
		c := s.connect(t)
		c.ask()
		deliver(s.command.Process, syscall.SIGQUIT)
		c.expectHangUp()
		s.await(t, `^SIGQUIT: quit$`)
		s.await(t, `^inetd: Ended process \d+: exit status 2$`)
		s.serveOne(t)
	},
}, {
	name:    "Idle",
	promise: "Under wait, the program exits when no client has come for 8 seconds, and the next client starts it again.",
	mend:    "set the Timeout of the listener. It counts from the end of the last conversation.",
	applies: func(s Server) bool { return s.Inetd == "wait" },
	check: func(t *testing.T, server Server) {
		const limit = 8 * time.Second
		silent := start(t, server).connect(t)
		silent.ask()
		s := start(t, server)
		c := s.connect(t)
		c.ask()
		time.Sleep(time.Second) // the 8 seconds begin when it leaves
		left := time.Now()
		c.Close()
		s.await(t, `^Waited 8 seconds with no further connections; shutting down$`)
		if waited := time.Since(left); waited < limit {
			t.Errorf("The program should wait for %v, and has waited for %v.", limit, waited)
		}
		s.serveOne(t) // it may not have exited yet
		s.await(t, `^inetd: Ended process \d+: exit status 0$`)
		silent.did("was silent for more than %v", limit)
		silent.ask() // its program has not left in the middle of a conversation
	},
}}

func inetdStarts(s Server) bool { return s.Inetd != "" }

// beInetd starts this binary as the program when a client connects, until the
// listening socket is destroyed. mode is "nowait" or "wait".
func beInetd(mode string) {
	log.SetFlags(0)
	log.SetPrefix("inetd: ")
	// These are for the program. Not Ignore, which it would inherit until it has begun.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGQUIT, destroy)
	stacks.Attributes.Setpgid = false // one group for all, which the suite ends
	log.Fatal(superserver.Serve[mode](zen.Listen("127.0.0.1:0"), func() *exec.Cmd { return Program() }))
}

// harmless are signals that do not concern a server.
var harmless = []os.Signal{syscall.SIGURG, syscall.SIGWINCH}

// endWithParent gives command a group and, on Linux, an end with this process.
func endWithParent(command *exec.Cmd) { command.SysProcAttr = &stacks.Attributes }

// endWithoutParent lets this program end if the test that has started it has ended.
func endWithoutParent() {
	if runtime.GOOS == "linux" {
		return // the system does it
	}
	go func() {
		for parent := os.Getppid(); os.Getppid() == parent; {
			time.Sleep(100 * time.Millisecond)
		}
		os.Exit(1)
	}()
}

// deliver sends a signal to a process and all that it has started.
func deliver(process *os.Process, signal os.Signal) {
	syscall.Kill(-process.Pid, signal.(syscall.Signal))
}

// group returns the group of a process, or -1.
func group(pid int) int {
	group, _ := syscall.Getpgid(pid)
	return group
}

// descriptorLimit returns how many descriptors this process can have.
func descriptorLimit() int {
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	return int(min(limit.Cur, 1<<20))
}

// smallWindow limits what a client takes before it reads.
func smallWindow(_, _ string, conn syscall.RawConn) error {
	return conn.Control(func(fd uintptr) {
		syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4<<10)
		syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1400)
	})
}

// destroy makes the program shut down its sockets.
const destroy = syscall.SIGUSR2

// obeySignals makes the program obey destroy, and clears the mask for the modes of files.
func obeySignals() {
	syscall.Umask(0) // so the mode of the log is the program's own doing
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, destroy)
	go func() {
		<-signals
		for fd := range 100 {
			syscall.Shutdown(fd, syscall.SHUT_RDWR) // fails if it is no socket
		}
	}()
}
