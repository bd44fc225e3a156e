// Package listening knows why a server cannot listen, and what an error of accept is
// about. Packages zen and poll, which do not import each other, both need it.
package listening

import (
	"errors"
	"slices"
	"syscall"
)

// Missing is what this program needs and this system does not have, or nil. Package
// poll sets it if there is neither epoll nor kqueue. Then a server ends before it
// listens.
var Missing error

// ClientGone reports whether err, an error of accept, is about one connection that
// broke before it was accepted. The next call can succeed at once.
//
// The manual of Linux, accept(2), names all of these. On macOS EOPNOTSUPP means a
// listening socket that is not TCP; no server here has one.
func ClientGone(err error) bool {
	return is(err, syscall.ECONNABORTED, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EOPNOTSUPP,
		syscall.ENETDOWN, syscall.ENETUNREACH, syscall.EHOSTUNREACH)
}

// Broken reports whether err, an error of accept, is about the listening socket: it is
// closed, or does not listen. Every further call would fail.
func Broken(err error) bool {
	return is(err, syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK)
}

func is(err error, numbers ...syscall.Errno) bool {
	var number syscall.Errno
	return errors.As(err, &number) && slices.Contains(numbers, number)
}
