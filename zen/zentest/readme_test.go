package zentest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func read(t *testing.T, path string) string {
	t.Helper()
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
	diffs := regexp.MustCompile("(?s)```diff\n\\$ ([^\n]*)\n(.*?)```").FindAllStringSubmatch(read(t, "../../README.md"), -1)
	if len(diffs) == 0 {
		t.Fatal("README.md has no diffs")
	}
	for _, diff := range diffs {
		command := exec.Command("bash", "-c", diff[1])
		command.Dir = "../.."
		if output, err := command.Output(); err != nil || string(output) != diff[2] {
			t.Errorf("%s prints\n%s, %v; README.md has\n%s", diff[1], output, err, diff[2])
		}
	}
}

// The README has a link to every program, a picture of every server that is not wider
// than a page, and where it waits.
func TestReadmePrograms(t *testing.T) {
	t.Parallel()
	readme := read(t, "../../README.md")
	programs, err := filepath.Glob("../../*/main.go")
	if len(programs) != 10 {
		t.Fatalf("%d programs, %v", len(programs), err)
	}
	for _, program := range programs {
		name := filepath.Base(filepath.Dir(program))
		if !strings.Contains(readme, "("+name+"/main.go)") {
			t.Errorf("README.md has no link to %s", name)
		}
		if name != "client" && (pictures(readme)[name] == "" || places(readme)[name] == "") {
			t.Errorf("README.md has no picture of %s, or does not say where it waits", name)
		}
	}
	for _, line := range regexp.MustCompile(`(?m)^(?:[A-F]  [.A-F|-]+|srv_\S+ +\d .*)$`).FindAllString(readme, -1) {
		if len(line) > 80 {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
}

// The lines of Go in the README stand in the two files that it tells of.
func TestReadmeCode(t *testing.T) {
	t.Parallel()
	code := read(t, "../../srv_async/main.go") + read(t, "../blocking.go")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "../../README.md"), -1)
	if len(blocks) == 0 {
		t.Fatal("README.md has no Go")
	}
	for _, block := range blocks {
		if !strings.Contains(code, block[1]) {
			t.Errorf("the files do not have\n%s", block[1])
		}
	}
}

// The links of each README lead to files and headings.
func TestReadmeLinks(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"../../README.md", "../tools/inetd/README.md", "README.md"} {
		for _, link := range regexp.MustCompile(`\]\(([^)\[]+)\)`).FindAllStringSubmatch(read(t, file), -1) {
			path, anchor, _ := strings.Cut(link[1], "#")
			if strings.HasPrefix(path, "https://") {
				continue
			}
			target := filepath.Join(filepath.Dir(file), path)
			if path == "" {
				target = file
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", file, err)
			} else if anchor != "" && !strings.Contains(strings.ReplaceAll(strings.ToLower(read(t, target)), " ", "-"), "\n##-"+anchor+"\n") {
				t.Errorf("%s: %s has no heading for #%s", file, target, anchor)
			}
		}
	}
}

// The suite's README has a failure as it looks, apart from numbers and the server's
// command, and judges the originals by rules that there are.
func TestReadmeFailure(t *testing.T) {
	t.Parallel()
	command := testAgain("^TestAny$/^Framing$", faultVariable+"=takes a read for a question", "-server", anotherLanguage(t))
	output, _ := command.CombinedOutput()
	plain := func(text string) string {
		text = regexp.MustCompile(`-server '.*`).ReplaceAllString(text, "-server 'COMMAND'")
		return regexp.MustCompile(`\d+`).ReplaceAllString(text, "0")
	}
	readme := read(t, "README.md")
	_, failure, _ := strings.Cut(string(output), "    --- FAIL: ")
	failure, _, _ = strings.Cut(failure, "\nFAIL")
	if failure == "" || !strings.Contains(plain(readme), plain(failure)) {
		t.Errorf("README.md does not have this failure:\n%s", failure)
	}
	for _, row := range regexp.MustCompile(`(?m)^\| ([A-Z]\w+) \|`).FindAllStringSubmatch(readme, -1) {
		found := false
		for _, rule := range rules {
			found = found || rule.name == row[1]
		}
		if !found {
			t.Errorf("README.md tells of a rule %s, which there is not", row[1])
		}
	}
}
