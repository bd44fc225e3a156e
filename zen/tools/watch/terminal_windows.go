package main

import "syscall"

// isTerminal reports whether standard output is a console that can obey escape
// sequences, and makes it obey them. By default it prints them as characters.
// Consoles before Windows 10 cannot obey; watch then prints the picture once.
func isTerminal() bool {
	const obeyEscapes = 4 // ENABLE_VIRTUAL_TERMINAL_PROCESSING
	var mode uint32
	if syscall.GetConsoleMode(syscall.Stdout, &mode) != nil {
		return false
	}
	setConsoleMode := syscall.NewLazyDLL("kernel32.dll").NewProc("SetConsoleMode")
	ok, _, _ := setConsoleMode.Call(uintptr(syscall.Stdout), uintptr(mode|obeyEscapes))
	return ok != 0
}
