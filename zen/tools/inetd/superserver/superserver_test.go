//go:build linux

package superserver

import (
	"net"
	"os/exec"
	"syscall"
	"testing"

	"fopnp/chapter07/zen"
)

// Serve returns when somebody destroys the listening socket, in both modes.
func TestDestroyed(t *testing.T) {
	for _, wait := range []bool{false, true} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
		tcp := listener.(*net.TCPListener)
		s := &Service{
			Listener: zen.Listener{TCPListener: tcp},
			Wait:     wait,
			Command:  func() *exec.Cmd { return exec.Command("/bin/false") },
		}
		served := make(chan error)
		go func() { served <- s.Serve(t.Context()) }()
		raw, err := tcp.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
		if err := <-served; err == nil {
			t.Errorf("wait %v: no error", wait)
		}
	}
}
