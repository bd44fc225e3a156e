package main

import (
	"io"
	"net"
	"testing"
	"time"

	"fopnp/chapter07/zen/socketserver"
	"fopnp/chapter07/zen/zentest"
)

func TestMain(m *testing.M)        { zentest.Main(m, main) }
func TestServer(t *testing.T)      { zentest.Test(t, server) }
func BenchmarkServer(b *testing.B) { zentest.Benchmark(b, server) }

var server = zentest.Server{}

// A handler that panics loses its own client, and nobody else notices.
func TestPanic(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	listener := &faulty{Listener: tcp}
	go socketserver.Serve(listener, handle)
	for _, want := range []string{"", "Complex."} {
		conn, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "Simple is better than?")
		conn.(*net.TCPConn).CloseWrite()
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		if got, _ := io.ReadAll(conn); string(got) != want {
			t.Errorf("read %q, want %q", got, want)
		}
		conn.Close()
	}
}

// A faulty listener returns a first connection that panics when it is read.
type faulty struct {
	net.Listener
	accepted bool
}

func (f *faulty) Accept() (net.Conn, error) {
	conn, err := f.Listener.Accept()
	if err == nil && !f.accepted {
		f.accepted = true
		return panics{conn}, nil
	}
	return conn, err
}

type panics struct{ net.Conn }

func (panics) Read([]byte) (int, error) { panic("on purpose") }
