//go:build !plan9

package listening

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
)

// Each error of accept is about a connection, the listening socket, or neither: then it
// passes with time.
func TestErrorsOfAccept(t *testing.T) {
	connection, socket, neither := [2]bool{true, false}, [2]bool{false, true}, [2]bool{}
	for err, want := range map[error][2]bool{
		syscall.ECONNABORTED: connection, syscall.EPROTO: connection, syscall.ENOPROTOOPT: connection,
		syscall.EOPNOTSUPP: connection, syscall.ENETDOWN: connection, syscall.ENETUNREACH: connection,
		syscall.EHOSTUNREACH: connection,
		syscall.EBADF:        socket, syscall.EINVAL: socket, syscall.ENOTSOCK: socket,
		syscall.EMFILE: neither, syscall.ENFILE: neither, syscall.ENOMEM: neither, errors.New("another"): neither,
	} {
		err = &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", err)}
		if got := [2]bool{ClientGone(err), Broken(err)}; got != want {
			t.Errorf("%v: client gone, broken are %v, want %v", err, got, want)
		}
	}
}
