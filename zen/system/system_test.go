//go:build !plan9

package system

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
		err                      error
		ofConnection, ofListener bool
	}{
		{syscall.ECONNABORTED, true, false},
		{syscall.EPROTO, true, false},
		{syscall.EOPNOTSUPP, true, false},
		{syscall.ENETDOWN, true, false},
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
			if OfConnection(err) != test.ofConnection || OfListener(err) != test.ofListener {
				t.Errorf("%v is of a connection: %v, of the listener: %v; want %v, %v",
					err, OfConnection(err), OfListener(err), test.ofConnection, test.ofListener)
			}
		}
	}
}
