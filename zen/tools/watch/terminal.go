//go:build !windows

package main

import "os"

// isTerminal reports whether standard output is a terminal.
func isTerminal() bool {
	info, err := os.Stdout.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
