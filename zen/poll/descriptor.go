//go:build !windows

package poll

type descriptor = int
