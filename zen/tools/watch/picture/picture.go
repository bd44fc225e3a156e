// Package picture draws what the clients of a server see: a row for each client,
// and a column for each tick of time.
//
//	A  A------A|
//	B  .B------B|
//
// In the middle of each tick it adds a symbol to each row: '.' if the client waits, '-'
// if it is silent. Clients ask when a tick begins, and the server thinks for a tick. So
// answers come between two symbols, and an answer's letter replaces the one before it.
// A row ends with '|' when its client leaves, and with '!' when there is an error.
package picture

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"fopnp/chapter07/zen"
)

// A Picture is drawn while its clients talk to the server.
type Picture struct {
	tick    time.Duration
	clients []*client
	width   int        // of the labels
	mu      sync.Mutex // for the rows, and Err
	looked  *sync.Cond // each row has another symbol, or is complete
	Err     error      // the first one; read it after Ticks
}

// A client has a row in the picture.
type client struct {
	*Picture
	label string // its first letter is the symbol of an answer
	row   string
	next  atomic.Int32 // the next symbol
	conn  *net.TCPConn
}

// Start connects clients to the server at address: first one for each of beside,
// which are of [Kinds], then the polite ones, A to F. Each sends its first question
// before the next one connects, so their order is always the same. Start returns an
// error if the first one fails to connect within a second. If connecting takes longer,
// the picture shows clients that wait.
func Start(address string, tick time.Duration, beside ...string) (*Picture, error) {
	p := &Picture{tick: tick}
	p.looked = sync.NewCond(&p.mu)
	for _, label := range slices.Concat(beside, strings.Split("ABCDEF", "")) {
		c := &client{Picture: p, label: label}
		c.next.Store('.')
		p.clients = append(p.clients, c)
		p.width = max(p.width, len(label))
	}
	dialed := make(chan error, len(p.clients)+1)
	time.AfterFunc(time.Second, func() { dialed <- nil })
	go func() {
		for _, c := range p.clients {
			conn, err := net.Dial("tcp", address)
			dialed <- err
			if err != nil {
				c.end(err)
				continue
			}
			address = conn.RemoteAddr().String() // resolve a name once: that takes time
			c.conn = conn.(*net.TCPConn)
			kind := cmp.Or(Kinds[c.label], polite)
			io.WriteString(conn, kind.opening) // if this fails, so does the rest
			go func() {
				kind.rest(c)
				c.end(nil)
				conn.Close()
			}()
		}
	}()
	return p, <-dialed
}

// Ticks draws the picture, and yields in the middle of each tick, until each row is
// complete. While the program is stopped, as by Control-Z, no ticks pass.
func (p *Picture) Ticks(yield func() bool) {
	time.Sleep(p.tick / 2)
	for ticks := time.Tick(p.tick); p.look() && yield(); {
		<-ticks
	}
}

// look adds a symbol to each row that is not complete, and reports whether there is one.
func (p *Picture) look() (more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		if c.complete() {
			continue
		}
		more = true
		c.row += string(c.next.Load())
		if len(c.row) == 70 { // the picture is as wide as a page
			go c.end(errors.New("no answer within 70 ticks")) // end needs mu
		}
	}
	p.looked.Broadcast()
	return more
}

// String returns the picture as it is now, a line for each client.
func (p *Picture) String() (text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.clients {
		text += fmt.Sprintf("%-*s  %s\n", p.width, c.label, c.row)
	}
	return text
}

func (c *client) complete() bool { return strings.ContainsAny(c.row, "|!") }

// end completes c's row, once. err says why c cannot go on; nil means that it leaves.
func (c *client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.complete():
	case err == nil:
		c.row += "|"
	default:
		c.row += "!"
		c.Err = cmp.Or(c.Err, fmt.Errorf("%s: %w", c.label, err))
	}
}

// answered draws an answer in place of the tick that is over.
func (c *client) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.complete() {
		c.row = c.row[:max(0, len(c.row)-1)] + c.label[:1]
	}
}

// wait waits until c's row is longer by ticks symbols, or complete, and then until the next
// tick begins: symbols are added in the middle of a tick.
func (c *client) wait(ticks int) {
	c.mu.Lock()
	for until := len(c.row) + ticks; len(c.row) < until && !c.complete(); {
		c.looked.Wait()
	}
	c.mu.Unlock()
	time.Sleep(c.tick / 2)
}

// A kind is what a client does before it leaves.
type kind struct {
	opening string // sent before the next client connects
	rest    func(c *client)
}

var polite = &kind{question, (*client).converse}

// Kinds are the clients that can stand beside the polite ones, each for 12 ticks.
var Kinds = map[string]*kind{
	"silent":  {"", func(c *client) { go c.receive(); c.next.Store('-'); c.wait(12) }},
	"flood":   {longQuestion, func(c *client) { go c.receive(); go c.ask(); c.wait(12) }},
	"deaf":    {longQuestion, func(c *client) { go c.ask(); c.wait(12) }},
	"endless": {tooLong, func(c *client) { go c.awaitEnd(); c.wait(12) }},
}

const question = "Simple is better than?"

var (
	answer = zen.Aphorisms[question]

	// A server reads four long questions at once. It would read 4096 times "?", and
	// an event loop would think about all of them before it serves the next client.
	longQuestion = strings.Repeat("x", 999) + "?"
	tooLong      = strings.Repeat("x", zen.MaxQuestion+1)
)

// converse waits for the answer, is silent for six ticks, and asks again.
func (c *client) converse() {
	err := c.hear()
	if err == nil {
		c.next.Store('-')
		c.wait(6)
		c.next.Store('.')
		io.WriteString(c.conn, question) // if this fails, so does the read
		err = c.hear()
	}
	c.end(err)
}

func (c *client) hear() error {
	data := make([]byte, len(answer))
	n, err := io.ReadFull(c.conn, data)
	if err != nil {
		return fmt.Errorf("expected %q, got %q: %w", answer, data[:n], err)
	}
	if string(data) != answer {
		return fmt.Errorf("expected %q, got %q", answer, data)
	}
	c.answered()
	return nil
}

// ask asks as fast as it can. What is not sent when the connection ends is discarded.
func (c *client) ask() {
	c.conn.SetLinger(0)
	var err error
	for err == nil {
		_, err = io.WriteString(c.conn, longQuestion)
	}
	c.end(err)
}

func (c *client) receive() {
	data := make([]byte, 4096)
	_, err := c.conn.Read(data)
	for ; err == nil; _, err = c.conn.Read(data) {
		c.answered()
	}
	c.end(fmt.Errorf("the server hung up: %w", err))
}

// awaitEnd waits until the server hangs up, as it must.
func (c *client) awaitEnd() {
	if _, err := io.Copy(io.Discard, c.conn); err != nil {
		c.end(err)
	}
	c.next.Store('-')
}
