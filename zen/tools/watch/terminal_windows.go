package main

import "syscall"

const resume = syscall.SIGTRAP // never comes: Windows does not stop programs

// terminalSize returns 0: on Windows watch does not draw, but prints the picture once.
func terminalSize() (rows, columns int) { return 0, 0 }
