package zentest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Each diff in the README is what the command above it prints.
func TestReadmeDiffs(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("SKIPPED: the commands are for bash, which is not here")
	}
	readme := read(t, "../../README.md")
	diffs := regexp.MustCompile("(?s)```diff\n\\$ ([^\n]*)\n(.*?)```").FindAllStringSubmatch(readme, -1)
	if len(diffs) == 0 {
		t.Fatal("README.md has no diffs")
	}
	for _, diff := range diffs {
		command := exec.Command("bash", "-c", diff[1])
		command.Dir = "../.."
		output, err := command.Output()
		if err != nil {
			t.Errorf("%s: %v", diff[1], err)
		}
		if string(output) != diff[2] {
			t.Errorf("%s prints\n%s\nREADME.md has\n%s", diff[1], output, diff[2])
		}
	}
}

// The README has a link to every program, a picture of every server, and where it
// waits.
func TestReadmePrograms(t *testing.T) {
	t.Parallel()
	readme := read(t, "../../README.md")
	programs, _ := filepath.Glob("../../*/main.go")
	for _, program := range programs {
		path := filepath.ToSlash(strings.TrimPrefix(program, filepath.FromSlash("../../")))
		if !strings.Contains(readme, "("+path+")") {
			t.Errorf("README.md has no link to %s", path)
		}
		if name, _, _ := strings.Cut(path, "/"); name != "client" && (pictures(readme)[name] == "" || places(readme)[name] == "") {
			t.Errorf("README.md has no picture of %s, or does not say where it waits", name)
		}
	}
}

// The links of each README lead to files and headings.
func TestReadmeLinks(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"../../README.md", "../tools/inetd/README.md", "README.md"} {
		for _, link := range regexp.MustCompile(`\]\(([^)\[]+)\)`).FindAllStringSubmatch(read(t, file), -1) {
			path, anchor, hasAnchor := strings.Cut(link[1], "#")
			if strings.HasPrefix(path, "https://") {
				continue
			}
			target := filepath.Join(filepath.Dir(file), path)
			if path == "" {
				target = file
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", file, err)
			} else if hasAnchor && !strings.Contains(strings.ReplaceAll(strings.ToLower(read(t, target)), " ", "-"), "\n##-"+anchor+"\n") {
				t.Errorf("%s: %s has no heading for #%s", file, target, anchor)
			}
		}
	}
}

// The README of the suite lists the rules, in their order.
func TestReadmeRules(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	for _, rule := range rules {
		fmt.Fprintf(&want, "| %s | %s | %s |\n", rule.name, rule.promise, rule.mend)
	}
	if !strings.Contains(read(t, "README.md"), want.String()) {
		t.Errorf("README.md does not have the rules:\n%s", want.String())
	}
}

// No picture in the README is wider than a page.
func TestReadmeWidth(t *testing.T) {
	t.Parallel()
	for i, line := range strings.Split(read(t, "../../README.md"), "\n") {
		if picture := regexp.MustCompile(`^[A-F]  [.A-F|-]+$`).MatchString(line); picture && len(line) > 72 {
			t.Errorf("line %d of README.md is %d characters wide", i+1, len(line))
		}
	}
}
