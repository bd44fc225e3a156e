//go:build !plan9

package listening

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
)

// Each error of accept is about one thing. What is about neither a connection nor
// the listening socket passes with time.
func TestErrorsOfAccept(t *testing.T) {
	for _, test := range []struct {
		err                error
		clientGone, broken bool
	}{
		{syscall.ECONNABORTED, true, false},
		{syscall.EPROTO, true, false},
		{syscall.EOPNOTSUPP, true, false},
		{syscall.ENOPROTOOPT, true, false},
		{syscall.ENETDOWN, true, false},
		{syscall.ENETUNREACH, true, false},
		{syscall.EHOSTUNREACH, true, false},
		{syscall.EBADF, false, true},
		{syscall.EINVAL, false, true},
		{syscall.ENOTSOCK, false, true},
		{syscall.EMFILE, false, false},
		{syscall.ENFILE, false, false},
		{syscall.ENOMEM, false, false},
		{syscall.EPERM, false, false},
		{errors.New("another"), false, false},
	} {
		wrapped := &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", test.err)}
		for _, err := range []error{test.err, wrapped} {
			if ClientGone(err) != test.clientGone || Broken(err) != test.broken {
				t.Errorf("%v: client gone %v, broken %v; want %v, %v",
					err, ClientGone(err), Broken(err), test.clientGone, test.broken)
			}
		}
	}
}
