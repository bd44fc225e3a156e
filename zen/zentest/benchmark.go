package zentest

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fopnp/chapter07/zen"
)

// Benchmark measures the server, and prints a row for each of the README's two
// tables, in Markdown. All figures are the server's own: the clients are not
// counted. Only Linux tells them, and a figure that does not apply is "–".
//
// BenchmarkServer/CPU prints the processor time for each question in
// microseconds: with 1, 4, 16 and 256 clients that each ask, wait for the answer
// and ask again; and with one such client beside 5,000 silent ones.
//
// BenchmarkServer/Counts prints what the server needs for each question of 16
// clients: reads, writes, and context switches because it waits; for each silent
// client: the bytes of memory, new, and after a burst of questions; its threads;
// and how long a client waits for an answer beside 16 that flood the server, in
// the median and at worst, in milliseconds.
func Benchmark(b *testing.B, server Server) {
	if runtime.GOOS != "linux" {
		b.Skip("SKIPPED: only Linux tells the figures")
	}
	b.Run("CPU", func(b *testing.B) {
		row := []string{programName()}
		for _, clients := range []int{1, 4, 16, 256} {
			row = append(row, processorTime(b, server, clients, 0))
		}
		printRow(b, append(row, processorTime(b, server, 1, 5000)))
	})
	b.Run("Counts", func(b *testing.B) {
		row := append([]string{programName()}, countCalls(b, server)...)
		row = append(row, measureMemory(b, server)...)
		printRow(b, append(row, measureWaits(b, server)...))
	})
}

func printRow(b *testing.B, row []string) {
	fmt.Printf("| %s |\n", strings.Join(row, " | "))
	b.ReportMetric(0, "ns/op")
}

const missing = "–"

// twoDigits returns x rounded to two digits.
func twoDigits(x float64) string {
	rounded, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'e', 1, 64), 64)
	text := strconv.FormatFloat(rounded, 'f', -1, 64)
	if rounded >= 1000 {
		for i := len(text) - 3; i > 0; i -= 3 {
			text = text[:i] + "," + text[i:]
		}
	}
	return text
}

// askAndWait lets clients ask, wait for the answer and ask again for a while. It
// returns by how much the result of measure grew for each question.
func askAndWait(b *testing.B, s *service, clients int, measure func() float64) (perQuestion float64) {
	var asked atomic.Int64
	var stopped atomic.Bool
	var all sync.WaitGroup
	for range clients {
		conn := s.connect(b)
		conn.ask()
		all.Add(1)
		go func() {
			defer all.Done()
			defer conn.Close()
			got := make([]byte, len(answer))
			for !stopped.Load() {
				io.WriteString(conn, question)
				if _, err := io.ReadFull(conn, got); err != nil {
					b.Error(err)
					return
				}
				asked.Add(1)
			}
		}()
	}
	time.Sleep(200 * time.Millisecond) // all run
	before, begin := measure(), asked.Load()
	time.Sleep(2 * time.Second)
	after, end := measure(), asked.Load()
	stopped.Store(true)
	all.Wait()
	return (after - before) / float64(end-begin)
}

// fits reports whether a measurement with so many clients applies.
func (s Server) fits(asking, silent int) bool {
	return s.atLeast(asking+silent) && (s.Inetd != "nowait" || silent == 0)
}

func processorTime(b *testing.B, server Server, clients, silent int) string {
	if !server.fits(clients, silent) {
		return missing
	}
	s := start(b, server, options{})
	defer s.stop(b)
	for range silent {
		s.connect(b)
	}
	if silent > 0 {
		s.awaitTimes(b, silent, "^Accepted connection from ")
	}
	return twoDigits(askAndWait(b, s, clients, func() float64 {
		return s.sum("task/*/schedstat", `^(\d+)`) / 1000 // nanoseconds on a processor
	}))
}

// sum adds up a number that files under /proc tell of every process of the
// server. The pattern has a group that matches the number.
func (s *service) sum(files, pattern string) (total float64) {
	expression := regexp.MustCompile("(?m)" + pattern)
	s.mu.Lock()
	defer s.mu.Unlock()
	for command := range s.processes {
		paths, _ := filepath.Glob(fmt.Sprintf("/proc/%d/%s", command.Process.Pid, files))
		for _, path := range paths {
			text, _ := os.ReadFile(path)
			if match := expression.FindSubmatch(text); match != nil {
				n, _ := strconv.ParseFloat(string(match[1]), 64)
				total += n
			}
		}
	}
	return total
}

func countCalls(b *testing.B, server Server) (row []string) {
	for _, count := range []struct{ files, pattern string }{
		{"io", `^syscr: (\d+)`},
		{"io", `^syscw: (\d+)`},
		{"task/*/status", `^voluntary_ctxt_switches:\s(\d+)`},
	} {
		s := start(b, server, options{})
		n := askAndWait(b, s, server.some(16), func() float64 { return s.sum(count.files, count.pattern) })
		row = append(row, fmt.Sprintf("%.2f", n))
		s.stop(b)
	}
	return row
}

func measureMemory(b *testing.B, server Server) (row []string) {
	memory := func(s *service) float64 { return s.sum("smaps_rollup", `^Pss:\s*(\d+) kB`) * 1024 }
	s := start(b, server, options{})
	defer s.stop(b)
	clients := server.some(1000)
	before := memory(s)
	burst := strings.Repeat("?", zen.MaxQuestion)
	var held []io.ReadWriter
	for range clients {
		conn := s.connect(b)
		held = append(held, conn)
	}
	s.awaitTimes(b, clients, "^Accepted connection from ")
	created, threads := memory(s), s.sum("status", `^Threads:\s*(\d+)`)
	for _, conn := range held {
		io.WriteString(conn, strings.Repeat("x", zen.MaxQuestion-1))
		time.Sleep(100 * time.Microsecond) // most often two reads
		io.WriteString(conn, "?")
		io.ReadFull(conn, make([]byte, len(unknown)))
		io.WriteString(conn, burst)
		io.ReadFull(conn, make([]byte, len(burst)*len(unknown)))
	}
	after := memory(s)
	if !server.atLeast(100) { // too few to measure
		return []string{missing, missing, twoDigits(threads)}
	}
	each := func(total float64) string { return twoDigits((total - before) / float64(clients)) }
	return []string{each(created), each(after), twoDigits(threads)}
}

func measureWaits(b *testing.B, server Server) (row []string) {
	if !server.fits(17, 0) {
		return []string{missing, missing}
	}
	s := start(b, server, options{})
	defer s.stop(b)
	polite := s.connect(b)
	polite.ask()
	chunk := strings.Repeat(question, 3000)
	for range 16 {
		conn := s.connect(b)
		go func() {
			for {
				if _, err := io.WriteString(conn, chunk); err != nil {
					return
				}
			}
		}()
		go io.Copy(io.Discard, conn)
	}
	time.Sleep(time.Second) // the flood has begun
	var waits []time.Duration
	for range 200 {
		begin := time.Now()
		polite.ask()
		waits = append(waits, time.Since(begin))
		time.Sleep(10 * time.Millisecond)
	}
	slices.Sort(waits)
	milliseconds := func(d time.Duration) string { return twoDigits(d.Seconds() * 1000) }
	return []string{milliseconds(waits[len(waits)/2]), milliseconds(waits[len(waits)-1])}
}
