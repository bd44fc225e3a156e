//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// resume is the signal that follows Control-Z, when the program goes on.
const resume = syscall.SIGCONT

// terminalSize returns the size of the terminal that is standard output. rows is 0 if
// it is another file. Package syscall can ask only through package unsafe, so
// terminalSize asks stty.
func terminalSize() (rows, columns int) {
	stty := exec.Command("stty", "size")
	stty.Stdin = os.Stdout
	output, err := stty.Output()
	if err != nil {
		return 0, 0
	}
	fmt.Sscan(string(output), &rows, &columns)
	if rows == 0 || columns == 0 {
		return 24, 80 // a terminal that does not know, such as a serial line
	}
	return rows, columns
}
