package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"fopnp/chapter07/zen/tools/watch/picture"
)

// draw prints legend and p, and returns p's error. In a terminal it draws p until it is
// complete. It changes no mode of the terminal, so it may be stopped or killed.
func draw(p *picture.Picture, legend string) error {
	if err := show(legend); err != nil {
		return err
	}
	complete := make(chan error, 1)
	go func() { complete <- p.Wait() }()
	var frames <-chan time.Time
	if rows, _ := terminalSize(); rows > 0 && os.Getenv("TERM") != "" && os.Getenv("TERM") != "dumb" {
		frames = time.Tick(50 * time.Millisecond)
	}
	resumed := make(chan os.Signal, 1)
	signal.Notify(resumed, resume)
	text, last := "", "" // the picture, and what the terminal shows of it
	for {
		select {
		case <-resumed:
			last = "" // other text is below it
		case <-frames:
			if text == p.String() {
				continue
			}
			text = p.String()
			rows, columns := terminalSize()
			if frame := cut(text, columns); height(legend+frame, columns) < rows && len(resumed) == 0 {
				show(erase(last, rows, columns) + frame)
				last = frame
			}
		case err := <-complete:
			rows, columns := terminalSize()
			return cmp.Or(show(erase(last, rows, columns)+p.String()), err)
		}
	}
}

// show prints text. If its reader has left, as head -1 does, the program ends.
func show(text string) error {
	_, err := fmt.Print(text)
	if errors.Is(err, syscall.EPIPE) {
		os.Exit(0)
	}
	return err
}

// cut cuts each line of text to the columns of a terminal.
func cut(text string, columns int) string {
	var lines strings.Builder
	for line := range strings.Lines(text) {
		lines.WriteString(line[:min(len(line)-1, columns)] + "\n")
	}
	return lines.String()
}

// height returns how many rows of a terminal text takes.
func height(text string, columns int) (rows int) {
	for line := range strings.Lines(text) {
		rows += 1 + (len(line)-2)/max(columns, 1) // a line of columns, and its newline, is one row
	}
	return rows
}

// erase returns what erases last, which ends above the cursor. If last does not fit on the
// screen any more, erase returns "". A terminal that is narrower now has wrapped last.
func erase(last string, rows, columns int) string {
	lines := height(last, columns)
	if lines == 0 || lines >= rows {
		return ""
	}
	return fmt.Sprintf("\r\x1b[%dA\x1b[%dM", lines, lines) // go up, and delete lines
}
