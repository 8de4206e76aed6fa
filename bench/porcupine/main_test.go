package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// file turns lines such as "1 invoke write 3" into a history: process, type, function, value; "key=k" may come first.
// The time of a line is its position.
func file(text string) string {
	var out strings.Builder
	out.WriteString(`{"shakedown_history":1,"claim":"linearizable","workload":"test","clock":"none"}` + "\n")
	for i, line := range strings.Split(strings.TrimSpace(text), "\n") {
		line = strings.TrimSpace(line)
		key := ""
		if name, rest, found := strings.Cut(line, " "); found && strings.HasPrefix(name, "key=") {
			key, line = fmt.Sprintf(`,"key":%q`, strings.TrimPrefix(name, "key=")), rest
		}
		fields := strings.SplitN(line, " ", 4)
		value := ""
		if len(fields) == 4 {
			value = `,"value":` + fields[3]
		}
		fmt.Fprintf(&out, `{"index":%d,"time":%d,"type":%q,"process":%s,"f":%q%s%s}`+"\n",
			i, i*10, fields[1], fields[0], fields[2], key, value)
	}
	return out.String()
}

func parse(t *testing.T, model, content string) *history {
	t.Helper()
	history, err := readEvents(bufio.NewReader(strings.NewReader(content)), objects[model])
	if err != nil {
		t.Fatal(err)
	}
	return history
}

func check(model string, history *history) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(objects[model].model(history), history.operations, time.Minute)
}

func TestModelsTellLegalFromIllegal(t *testing.T) {
	cases := []struct {
		name, model string
		want        porcupine.CheckResult
		text        string
	}{
		{"first read is absent", "register", porcupine.Ok, "0 invoke read\n0 ok read null"},
		{"read of nothing after a write", "register", porcupine.Illegal, `
			0 invoke write 1
			0 ok write
			1 invoke read
			1 ok read null`},
		{"keys are independent", "register", porcupine.Ok, `
			key=a 0 invoke write 1
			key=a 0 ok write
			key=b 1 invoke read
			key=b 1 ok read null`},
		{"unknown write may take effect late", "register", porcupine.Ok, `
			0 invoke write 1
			0 info write
			1 invoke read
			1 ok read null
			1 invoke read
			1 ok read 1`},
		{"failed write did not happen", "register", porcupine.Illegal, `
			0 invoke write 1
			0 fail write
			1 invoke read
			1 ok read 1`},
		{"mismatch is an observation", "cas-register", porcupine.Illegal, `
			0 invoke write 1
			0 ok write
			1 invoke cas [1,2]
			1 ok cas false`},
		{"unknown swap may have matched", "cas-register", porcupine.Ok, `
			0 invoke write 1
			0 ok write
			1 invoke cas [1,2]
			1 info cas
			2 invoke read
			2 ok read 2`},
		{"unknown swap needs its expected value", "cas-register", porcupine.Illegal, `
			0 invoke write 1
			0 ok write
			1 invoke cas [3,2]
			1 info cas
			2 invoke read
			2 ok read 2`},
		{"append to absent, delete, swap of absent", "kv", porcupine.Ok, `
			key=a 0 invoke append "x"
			key=a 0 ok append
			key=a 0 invoke append "y"
			key=a 0 ok append
			key=a 0 invoke get
			key=a 0 ok get "xy"
			key=a 0 invoke delete
			key=a 0 ok delete
			key=a 0 invoke cas [null,"z"]
			key=a 0 ok cas true
			key=a 0 invoke get
			key=a 0 ok get "z"`},
		{"empty is not absent", "kv", porcupine.Illegal, `
			key=a 0 invoke put ""
			key=a 0 ok put
			key=a 0 invoke get
			key=a 0 ok get null`},
		{"elements of a set", "set", porcupine.Ok, `
			0 invoke add 1
			0 ok add
			0 invoke contains 1
			0 ok contains true
			0 invoke remove 1
			0 ok remove
			0 invoke contains 1
			0 ok contains false`},
		{"element that was removed", "set", porcupine.Illegal, `
			0 invoke add 1
			0 ok add
			0 invoke remove 1
			0 ok remove
			0 invoke contains 1
			0 ok contains true`},
		{"whole set in any order", "set", porcupine.Ok, `
			0 invoke add 2
			0 ok add
			0 invoke add 1
			0 ok add
			0 invoke add 1
			0 ok add
			0 invoke contains 2
			0 ok contains true
			0 invoke read
			0 ok read [1,2]
			0 invoke remove 2
			0 ok remove
			0 invoke read
			0 ok read [1]`},
		{"whole set without an element", "set", porcupine.Illegal, `
			0 invoke add 2
			0 ok add
			0 invoke read
			0 ok read []`},
		{"queue in order", "queue", porcupine.Ok, `
			0 invoke enqueue 1
			0 ok enqueue
			0 invoke enqueue 2
			0 ok enqueue
			0 invoke dequeue
			0 ok dequeue 1
			0 invoke dequeue
			0 ok dequeue 2
			0 invoke dequeue
			0 ok dequeue null`},
		{"queue out of order", "queue", porcupine.Illegal, `
			0 invoke enqueue 1
			0 ok enqueue
			0 invoke enqueue 2
			0 ok enqueue
			0 invoke dequeue
			0 ok dequeue 2`},
		{"unknown dequeue may have taken the first", "queue", porcupine.Ok, `
			0 invoke enqueue 1
			0 ok enqueue
			0 invoke enqueue 2
			0 ok enqueue
			1 invoke dequeue
			1 info dequeue
			0 invoke dequeue
			0 ok dequeue 2`},
		{"bag out of order", "unordered-queue", porcupine.Ok, `
			0 invoke enqueue 1
			0 ok enqueue
			0 invoke enqueue 2
			0 ok enqueue
			0 invoke dequeue
			0 ok dequeue 2
			0 invoke dequeue
			0 ok dequeue 1`},
		{"bag delivers once", "unordered-queue", porcupine.Illegal, `
			0 invoke enqueue 1
			0 ok enqueue
			0 invoke dequeue
			0 ok dequeue 1
			0 invoke dequeue
			0 ok dequeue 1`},
		{"unknown dequeue of a bag may take a later element", "unordered-queue", porcupine.Ok, `
			1 invoke dequeue
			1 info dequeue
			0 invoke enqueue 1
			0 ok enqueue
			0 invoke enqueue 2
			0 ok enqueue
			0 invoke dequeue
			0 ok dequeue 1
			0 invoke dequeue
			0 ok dequeue null`},
		{"unknown dequeue of a bag takes one element", "unordered-queue", porcupine.Illegal, `
			1 invoke dequeue
			1 info dequeue
			0 invoke enqueue 1
			0 ok enqueue
			0 invoke enqueue 2
			0 ok enqueue
			0 invoke dequeue
			0 ok dequeue null`},
		{"list in its order", "append-list", porcupine.Ok, `
			0 invoke read
			0 ok read null
			0 invoke append 2
			0 ok append
			0 invoke append 1
			0 ok append
			0 invoke read
			0 ok read [2,1]`},
		{"list in another order", "append-list", porcupine.Illegal, `
			0 invoke append 2
			0 ok append
			0 invoke append 1
			0 ok append
			0 invoke read
			0 ok read [1,2]`},
	}
	for _, c := range cases {
		t.Run(c.model+": "+c.name, func(t *testing.T) {
			if got := check(c.model, parse(t, c.model, file(c.text))); got != c.want {
				t.Errorf("%s instead of %s", got, c.want)
			}
		})
	}
}

func TestEqualStampsAreConcurrent(t *testing.T) {
	history := parse(t, "register", `{"index":0,"time":1,"type":"invoke","process":0,"f":"write","value":1}
{"index":1,"time":5,"type":"ok","process":0,"f":"write"}
{"index":2,"time":5,"type":"invoke","process":1,"f":"read"}
{"index":3,"time":9,"type":"ok","process":1,"f":"read"}
`)
	if got := check("register", history); got != porcupine.Ok {
		t.Errorf("%s although the read may come first", got)
	}
}

func TestFailuresAndUnknownReadsAreDroppedButCounted(t *testing.T) {
	history := parse(t, "register", file(`
		0 invoke write 1
		0 fail write
		1 invoke read
		1 info read
		2 invoke read
		3 invoke write 2
		3 info write`))
	if history.invocations != 4 || len(history.operations) != 1 {
		t.Errorf("%d operations, of which Porcupine sees %d", history.invocations, len(history.operations))
	}
	if end := history.operations[0].Return; end != 61 {
		t.Errorf("the unknown write returns at %d instead of after everything", end)
	}
}

func TestSetsWithoutReadsAreSplitByElement(t *testing.T) {
	text := "key=a 0 invoke add 1\nkey=a 0 ok add\nkey=a 0 invoke add 2\nkey=a 0 ok add\nkey=b 0 invoke add 1\nkey=b 0 ok add"
	for more, want := range map[string]int{"": 3, "\nkey=a 0 invoke read\nkey=a 0 ok read [1,2]": 2} {
		history := parse(t, "set", file(text+more))
		if parts := len(setModel(history).Partition(history.operations)); parts != want {
			t.Errorf("%d parts instead of %d", parts, want)
		}
	}
}

func TestBrokenLinesAreNamed(t *testing.T) {
	cases := map[string]string{
		"{\n":                                              "1: ",
		file("0 ok read 1"):                                "2: process 0 completes",
		file("0 invoke fly"):                               "2: unknown function",
		file("0 invoke cas 3"):                             "2: cas takes",
		file("0 later write 3"):                            "2: process 0 completes",
		file("0 invoke write {\"}"):                        "2: ",
		file("0 invoke read\n0 invoke read"):               "3: process 0 invokes",
		file("0 invoke cas [1,2]\n0 ok cas 7"):             "3: what cas observed",
		file("0 invoke read\n0 maybe read"):                "3: unknown type",
		`{"time":18446744073709551615,"type":"ok"}` + "\n": "1: time 18446744073709551615",
	}
	for content, want := range cases {
		_, err := readEvents(bufio.NewReader(strings.NewReader(content)), objects["register"])
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q gives %v instead of %q", content, err, want)
		}
	}
}

func TestTornLastLineIsNotRead(t *testing.T) {
	whole := file("0 invoke write 1\n0 ok write")
	history := parse(t, "register", whole+`{"index":2,"time":30,"ty`)
	if history.invocations != 1 {
		t.Errorf("%d operations", history.invocations)
	}
}

func TestValuesThatAreEqualGetEqualNumbers(t *testing.T) {
	decoder := newDecoder(objects["register"])
	number := func(raw string) int {
		value, err := decoder.value([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	if number(`"a"`) != number(`"\u0061"`) || number(`{"a":1,"b":2}`) != number(`{"b":2, "a":1}`) {
		t.Error("equal values differ")
	}
	if number("1") == number(`"1"`) || number("null") != 0 || number("0") == 0 {
		t.Error("different values are equal")
	}
}

func TestFileIsJudgedPlainAndCompressed(t *testing.T) {
	content := file("0 invoke write 1\n0 ok write\n1 invoke read\n1 ok read null")
	plain, packed := filepath.Join(t.TempDir(), "h.jsonl"), filepath.Join(t.TempDir(), "h.jsonl.gz")
	if err := os.WriteFile(plain, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := os.Create(packed)
	if err != nil {
		t.Fatal(err)
	}
	writer := gzip.NewWriter(output)
	fmt.Fprint(writer, content)
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	output.Close()
	for _, path := range []string{plain, packed} {
		result, err := run([]string{path, "register", "60", "1073741824"})
		if err != nil {
			t.Fatal(err)
		}
		if result.Verdict != "illegal" || result.Operations != 2 || result.Repetitions < 2 || result.PeakBytes == 0 {
			t.Errorf("%+v", result)
		}
	}
	result, err := run([]string{plain, "abacus", "60", "1073741824"})
	if err != nil || result.Verdict != "unsupported" {
		t.Errorf("%+v, %v", result, err)
	}
}
