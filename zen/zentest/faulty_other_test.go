//go:build !unix

package zentest

func faultyUnderInetd(string) {}
