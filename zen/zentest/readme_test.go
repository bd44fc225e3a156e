package zentest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func readReadme(t *testing.T) string {
	text, err := os.ReadFile("../../README.md")
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
	readme := readReadme(t)
	functions := regexp.MustCompile("(?s)```sh\n(code\\(\\).*?)```").FindStringSubmatch(readme)
	diffs := regexp.MustCompile("(?s)```diff\n\\$ ([^\n]*)\n(.*?)```").FindAllStringSubmatch(readme, -1)
	if functions == nil || len(diffs) != 7 {
		t.Fatalf("%d diffs, want 7", len(diffs))
	}
	for _, diff := range diffs {
		command := exec.Command("bash", "-c", functions[1]+diff[1])
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

// The README has a link to every program and a picture of every server, and its
// links lead somewhere.
func TestReadmeLinks(t *testing.T) {
	t.Parallel()
	readme := readReadme(t)
	programs, _ := filepath.Glob("../../*/main.go")
	for _, program := range programs {
		path := filepath.ToSlash(strings.TrimPrefix(program, filepath.FromSlash("../../")))
		if !strings.Contains(readme, "("+path+")") {
			t.Errorf("README.md has no link to %s", path)
		}
		if name, _, _ := strings.Cut(path, "/"); name != "client" && pictures(readme)[name] == "" {
			t.Errorf("README.md has no picture of %s", name)
		}
	}
	for _, link := range regexp.MustCompile(`\]\(([^)\[]+)\)`).FindAllStringSubmatch(readme, -1) {
		path, anchor, hasAnchor := strings.Cut(link[1], "#")
		if strings.HasPrefix(path, "https://") {
			continue
		}
		if _, err := os.Stat("../../" + path); err != nil {
			t.Error(err)
		}
		if hasAnchor && !strings.Contains(strings.ReplaceAll(strings.ToLower(readme), " ", "-"), "\n##-"+anchor+"\n") {
			t.Errorf("README.md has no heading for #%s", anchor)
		}
	}
}

// No picture in the README is wider than a page.
func TestReadmeWidth(t *testing.T) {
	t.Parallel()
	for i, line := range strings.Split(readReadme(t), "\n") {
		if picture := regexp.MustCompile(`^[A-F]  [.A-F|-]+$`).MatchString(line); picture && len(line) > 72 {
			t.Errorf("line %d of README.md is %d characters wide", i+1, len(line))
		}
	}
}
