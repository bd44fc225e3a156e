package zentest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// This file asks Linux's /proc what a server does. Elsewhere the suite waits for a
// while in place of that, and says what it does not judge.

func hasProc() bool {
	_, err := os.Stat("/proc/self/task")
	return err == nil
}

// processes returns the folders in /proc of the server's processes, which are those of
// its group. A process that has ended and was not collected is one of them.
func (s *service) processes() (folders []string) {
	all, _ := filepath.Glob("/proc/[1-9]*")
	for _, folder := range all {
		if pid, _ := strconv.Atoi(filepath.Base(folder)); group(pid) == s.command.Process.Pid {
			folders = append(folders, folder)
		}
	}
	return folders
}

// An activity is what the tasks of some processes do at a moment.
type activity struct {
	tasks   int
	running bool          // one runs, or waits for a processor or a disk
	used    time.Duration // processor time of those that have not ended
}

func look(processes []string) (now activity) {
	for _, process := range processes {
		tasks, _ := filepath.Glob(process + "/task/*")
		for _, task := range tasks {
			text, _ := os.ReadFile(task + "/stat")
			if _, state, found := strings.Cut(string(text), ") "); found { // the name is in parentheses
				now.tasks++
				now.running = now.running || state[0] == 'R' || state[0] == 'D'
			}
			text, _ = os.ReadFile(task + "/schedstat")
			var used time.Duration
			fmt.Sscan(string(text), &used)
			now.used += used
		}
	}
	return now
}

// rests waits until the server rests, and reports whether it does so within the time
// that a client waits. It rests if for five looks in a row no task of its processes
// runs or waits for a processor, none comes or goes, and all together use less than a
// twentieth of a processor. A server that waits to try something again rests too.
func (s *service) rests() bool { return s.restsWithin(s.patience()) }

func (s *service) restsWithin(limit time.Duration) bool {
	if !hasProc() {
		time.Sleep(min(limit, time.Second/2))
		return true
	}
	processes := s.processes() // not at each look: a machine may run thousands of others
	before, looked, still := look(processes), time.Now(), 0
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		now, passed := look(processes), time.Since(looked)
		if now.running || now.tasks != before.tasks || now.used-before.used > passed/20 {
			still = 0
		} else if still++; still == 5 {
			if slices.Equal(processes, s.processes()) {
				return true
			}
			processes, still = s.processes(), 0
		}
		before, looked = now, looked.Add(passed)
	}
	return false
}

// mustRest fails if the server does not rest.
func (s *service) mustRest(t testing.TB, when string) {
	t.Helper()
	before := look(s.processes()).used
	if !s.rests() && !s.ended.Load() {
		used := (look(s.processes()).used - before).Round(time.Millisecond)
		t.Fatalf("The server has nothing to do (%s), and has not rested for %v. It used %v of processor time meanwhile: it spins (if that is little, the machine is busy: -patience %v).", when, s.patience(), used, 6*s.patience())
	}
}

// resources counts what the server has. The names are for messages. Memory is without
// what is in files.
func (s *service) resources() map[string]int {
	processes := s.processes()
	counts := map[string]int{"processes": len(processes), "threads": look(processes).tasks}
	for _, process := range processes {
		descriptors, _ := os.ReadDir(process + "/fd")
		counts["descriptors"] += len(descriptors)
		text, _ := os.ReadFile(process + "/statm")
		var size, resident, ofFiles int // pages
		fmt.Sscan(string(text), &size, &resident, &ofFiles)
		counts["bytes of memory"] += (resident - ofFiles) * os.Getpagesize()
	}
	return counts
}

// queues returns how many bytes local has sent and remote's system has not taken, and how
// many are with local's system and not read. ok is false if the system does not tell.
func queues(local, remote net.Addr) (unsent, unread int, ok bool) {
	v4, _ := os.ReadFile("/proc/net/tcp")
	v6, _ := os.ReadFile("/proc/net/tcp6")
	row := fmt.Sprintf(`:%04X \w+:%04X \w+ (\w+:\w+)`, local.(*net.TCPAddr).Port, remote.(*net.TCPAddr).Port)
	match := regexp.MustCompile(row).FindSubmatch(append(v4, v6...))
	if match == nil {
		return 0, 0, false
	}
	fmt.Sscanf(string(match[1]), "%x:%x", &unsent, &unread)
	return unsent, unread, true
}
