package zentest

import (
	"fmt"
	"io"
	"net"
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

// Benchmark measures the server, and prints one row of a table in Markdown;
// zen/measure prints the tables for all servers. All figures are the server's own:
// the clients are not counted. Only Linux tells them, and a figure that does not
// apply is "–". The columns are
//
//   - processor time in microseconds for each question: of 4, 16 and 256 clients that
//     each ask, wait for the answer and ask again, and of 16 beside 5,000 silent ones;
//   - reads, writes, and context switches because the server waits, for each question
//     of 16 clients;
//   - bytes of memory for each silent client: new, after half a question, and after a
//     burst of 4,096 questions; and the server's threads with these clients;
//   - beside 16 clients that flood the server: how long another waits for an answer, in
//     the median and at worst, in milliseconds, and how many processors are busy.
func Benchmark(b *testing.B, server Server) {
	if runtime.GOOS != "linux" {
		b.Skip("SKIPPED: only Linux tells the figures")
	}
	row := []string{programName(), processorTime(b, server, 4)}
	row = append(row, countCalls(b, server)...)
	row = slices.Insert(row, 3, processorTime(b, server, 256))
	silent := measureSilent(b, server)
	row = slices.Insert(row, 4, silent[0])
	row = append(row, silent[1:]...)
	row = append(row, measureFlood(b, server)...)
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
// returns by how much the result of each function grew for each question.
func askAndWait(b *testing.B, s *service, clients int, measure ...func() float64) (perQuestion []float64) {
	var asked atomic.Int64
	var stopped atomic.Bool
	var all sync.WaitGroup
	for range clients {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			b.Fatal(err)
		}
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
	begin := asked.Load()
	for _, f := range measure {
		perQuestion = append(perQuestion, -f())
	}
	time.Sleep(2 * time.Second)
	questions := float64(asked.Load() - begin)
	for i, f := range measure {
		perQuestion[i] = (perQuestion[i] + f()) / questions
	}
	stopped.Store(true)
	all.Wait()
	return perQuestion
}

func processorTime(b *testing.B, server Server, clients int) string {
	if !server.atLeast(clients) {
		return missing
	}
	s := start(b, server, options{})
	defer s.stop(b)
	return twoDigits(askAndWait(b, s, clients, s.processorTime)[0])
}

// processorTime returns how long the server has run, in microseconds.
func (s *service) processorTime() float64 {
	return s.sum("task/*/schedstat", `^(\d+)`) / 1000
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

// countCalls returns the processor time for each question of 16 clients, and what
// the server calls for it.
func countCalls(b *testing.B, server Server) (row []string) {
	s := start(b, server, options{})
	defer s.stop(b)
	figures := askAndWait(b, s, server.some(16), s.processorTime,
		func() float64 { return s.sum("io", `^syscr: (\d+)`) },
		func() float64 { return s.sum("io", `^syscw: (\d+)`) },
		func() float64 { return s.sum("task/*/status", `^voluntary_ctxt_switches:\s(\d+)`) })
	row = append(row, missing)
	if server.atLeast(16) {
		row[0] = twoDigits(figures[0])
	}
	for _, figure := range figures[1:] {
		row = append(row, fmt.Sprintf("%.2f", figure))
	}
	return row
}

// measureSilent measures the server with silent clients.
func measureSilent(b *testing.B, server Server) (row []string) {
	s := start(b, server, options{})
	defer s.stop(b)
	clients := server.some(5000)
	memory := func() float64 { return s.sum("smaps_rollup", `^Pss:\s*(\d+) kB`) * 1024 }
	before := memory()
	var held []net.Conn
	for range clients {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		held = append(held, conn)
	}
	s.awaitTimes(b, clients, "^Accepted connection from ")
	each := func() string {
		if !server.atLeast(100) {
			return missing // too few to measure
		}
		return twoDigits((memory() - before) / float64(clients))
	}
	created, threads := each(), twoDigits(s.sum("status", `^Threads:\s*(\d+)`))
	time16 := missing
	if unlimited(server) {
		time16 = twoDigits(askAndWait(b, s, 16, s.processorTime)[0])
	}
	for _, conn := range held {
		io.WriteString(conn, "x")
	}
	time.Sleep(time.Second) // nothing tells that the server has read it
	half := each()
	const burst = zen.MaxQuestion
	for _, conn := range held {
		io.WriteString(conn, strings.Repeat("?", burst))
		io.ReadFull(conn, make([]byte, burst*len(unknown)))
	}
	return []string{time16, created, half, each(), threads}
}

// measureFlood measures the server beside clients that flood it.
func measureFlood(b *testing.B, server Server) (row []string) {
	if !server.atLeast(17) {
		return []string{missing, missing, missing}
	}
	s := start(b, server, options{})
	defer s.stop(b)
	polite := s.connect(b)
	polite.ask()
	chunk := strings.Repeat(question, 3000)
	for range 16 {
		conn, err := net.Dial("tcp", s.address)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
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
	used, flooded := s.processorTime(), time.Now()
	for range 200 {
		begin := time.Now()
		polite.ask()
		waits = append(waits, time.Since(begin))
		time.Sleep(10 * time.Millisecond)
	}
	busy := (s.processorTime() - used) / float64(time.Since(flooded).Microseconds())
	slices.Sort(waits)
	milliseconds := func(d time.Duration) string { return twoDigits(d.Seconds() * 1000) }
	return []string{milliseconds(waits[len(waits)/2]), milliseconds(waits[len(waits)-1]), fmt.Sprintf("%.1f", busy)}
}
