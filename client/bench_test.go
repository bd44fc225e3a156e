package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

// BenchmarkServers measures the real programs over real sockets: each client
// asks, waits for its answer, and asks again. It reports
//
//	questions/s       by all clients together; they share the machine with the server
//	cpu-us/question   processor time of the server alone, in microseconds
//	B/conn            memory for each connection that is open and asks nothing
//	threads           of the system, with all of them open
//
// Servers that take fewer clients are measured with as many as they take. What
// the platform does not tell is left out. The last row is srv_threaded with its
// workers locked to threads.
func BenchmarkServers(b *testing.B) {
	for _, server := range servers {
		b.Run("server="+server.name, func(b *testing.B) {
			benchmarkServer(b, server, program(bin, server.name))
		})
	}
	b.Run("server=srv_threaded_locked", func(b *testing.B) {
		dir := rebuild(b, "srv_threaded/main.go",
			`"net"`, `"net"; "runtime"`,
			"go func() {", "go func() { runtime.LockOSThread();")
		benchmarkServer(b, row("srv_threaded"), program(dir, "srv_threaded"))
	})
}

func benchmarkServer(b *testing.B, server server, path string) {
	counts := []int{1, 4, 16, 256}
	switch server.atOnce {
	case 1:
		counts = []int{1}
	case 4:
		counts = []int{1, 4}
	}
	for _, clients := range counts {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			benchmarkQuestions(b, startProgram(b, server, path), clients)
		})
	}
	idle := min(server.atOnce, 1000)
	if idle == 1000 && !server.processEach() {
		b.Run("clients=1,idle=5000", func(b *testing.B) {
			s := startProgram(b, server, path)
			s.connectIdle(b, 5000)
			benchmarkQuestions(b, s, 1)
		})
	}
	var memory float64
	var threads, ok = 0, false
	b.Run(fmt.Sprintf("idle=%d", idle), func(b *testing.B) {
		if !ok { // b.N means nothing here: once is enough
			s := startProgram(b, server, path)
			before, _, _ := s.footprint()
			s.connectIdle(b, idle)
			var after float64
			if after, threads, ok = s.footprint(); !ok {
				b.Skip("SKIPPED: only Linux tells how much memory a process has")
			}
			memory = (after - before) / float64(idle)
		}
		if idle == 1000 {
			b.ReportMetric(memory, "B/conn") // a few would not fill a page
		}
		b.ReportMetric(float64(threads), "threads")
		b.ReportMetric(0, "ns/op")
	})
}

// connectIdle connects clients that ask nothing, and waits until all of them are
// let in.
func (s *service) connectIdle(b *testing.B, clients int) {
	for range clients {
		s.connect(b).SetDeadline(time.Time{})
	}
	s.log.awaitTimes(b, clients, "^Accepted connection from ")
}

// benchmarkQuestions asks b.N questions.
func benchmarkQuestions(b *testing.B, s *service, clients int) {
	var all sync.WaitGroup
	ready := make(chan struct{})
	for i := range clients {
		conn := s.connect(b)
		conn.SetDeadline(time.Time{})
		ask(b, conn)
		all.Add(1)
		go func() {
			defer all.Done()
			<-ready
			asked, got := []byte(question), make([]byte, len(answer))
			for range (b.N + i) / clients { // b.N in all
				conn.Write(asked)
				if _, err := io.ReadFull(conn, got); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	before, ok := s.processorTime()
	b.ResetTimer()
	close(ready)
	all.Wait()
	b.StopTimer()
	after, _ := s.processorTime()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "questions/s")
	if ok {
		b.ReportMetric(float64((after-before).Microseconds())/float64(b.N), "cpu-us/question")
	}
	b.ReportMetric(0, "ns/op")
}

// processorTime returns what the server's processes have used, where the
// platform tells.
func (s *service) processorTime() (used time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for command := range s.processes {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", command.Process.Pid))
		if threads == nil {
			return 0, false
		}
		for _, thread := range threads {
			var nanoseconds time.Duration // on a processor: the first of three numbers
			if text, err := os.ReadFile(thread); err == nil {
				fmt.Sscan(string(text), &nanoseconds)
			}
			used += nanoseconds
		}
	}
	return used, len(s.processes) > 0
}

var (
	pss       = regexp.MustCompile(`(?m)^Pss:\s*(\d+) kB$`)
	threadsOf = regexp.MustCompile(`(?m)^Threads:\s*(\d+)$`)
)

// footprint returns the bytes of memory that the server's processes have, those
// they share divided among them, and their threads, where the platform tells.
func (s *service) footprint() (memory float64, threads int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for command := range s.processes {
		maps, err1 := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", command.Process.Pid))
		status, err2 := os.ReadFile(fmt.Sprintf("/proc/%d/status", command.Process.Pid))
		if err1 != nil || err2 != nil {
			return 0, 0, false
		}
		kilobytes, _ := strconv.Atoi(string(pss.FindSubmatch(maps)[1]))
		n, _ := strconv.Atoi(string(threadsOf.FindSubmatch(status)[1]))
		memory += float64(kilobytes) * 1024
		threads += n
	}
	return memory, threads, true
}
