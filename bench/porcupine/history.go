package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/anishathalye/porcupine"
)

// event is one line of a recorded history.
type event struct {
	Header   *int            `json:"shakedown_history"`
	Time     uint64          `json:"time"`
	Type     string          `json:"type"`
	Process  uint32          `json:"process"`
	Function string          `json:"f"`
	Key      *string         `json:"key"`
	Value    json.RawMessage `json:"value"`
}

// history is what Porcupine judges.
type history struct {
	operations []porcupine.Operation
	// invocations counts every operation of the file, also those that Porcupine need not see.
	invocations int
	// used are the functions that remain in operations.
	used map[function]bool
}

// forever is the return of an operation of unknown outcome until the end of the history is known.
const forever = int64(math.MaxInt64)

// dropped is the return of an operation that Porcupine need not see: it certainly did not happen, or it is of unknown
// outcome and could not have changed anything.
const dropped = int64(-1)

// reader pairs events into operations.
type reader struct {
	decoder *decoder
	history history
	// open is the operation that a process waits for, by its place in the history.
	open map[uint32]int
	last int64
}

// readFile reads a history of JSON lines, plain or gzip. What follows the last whole line is not read.
func readFile(path string, object object) (*history, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	input := bufio.NewReaderSize(file, 1<<20)
	if magic, err := input.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		unpacked, err := gzip.NewReader(input)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		input = bufio.NewReaderSize(unpacked, 1<<20)
	}
	history, err := readEvents(input, object)
	if err != nil {
		return nil, fmt.Errorf("%s:%w", path, err)
	}
	return history, nil
}

// readEvents reads a history; its errors begin with the number of the line.
func readEvents(input *bufio.Reader, object object) (*history, error) {
	r := reader{decoder: newDecoder(object), open: make(map[uint32]int)}
	r.history.used = make(map[function]bool)
	for number := 1; ; number++ {
		text, err := input.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%d: %w", number, err)
		}
		torn := err != nil
		if len(bytes.TrimSpace(text)) > 0 {
			var e event
			invalid := json.Unmarshal(text, &e)
			if invalid != nil && torn {
				break
			}
			if invalid == nil && e.Header == nil {
				invalid = r.take(&e)
			}
			if invalid != nil {
				return nil, fmt.Errorf("%d: %w", number, invalid)
			}
		}
		if torn {
			break
		}
	}
	r.finish()
	return &r.history, nil
}

func (r *reader) take(e *event) error {
	if e.Time >= math.MaxInt64 {
		return fmt.Errorf("time %d is beyond what Porcupine can hold", e.Time)
	}
	time := int64(e.Time)
	r.last = max(r.last, time)
	if e.Type == "invoke" {
		return r.invoke(e, time)
	}
	at, open := r.open[e.Process]
	if !open {
		return fmt.Errorf("process %d completes an operation that it never invoked", e.Process)
	}
	delete(r.open, e.Process)
	operation := &r.history.operations[at]
	switch e.Type {
	case "ok":
		answer, err := r.decoder.answer(e)
		if err != nil {
			return fmt.Errorf("what %s observed: %w", e.Function, err)
		}
		operation.Output, operation.Return = answer, time
	case "fail":
		operation.Return = dropped
	case "info":
	default:
		return fmt.Errorf("unknown type %q", e.Type)
	}
	return nil
}

// invoke takes an operation as one of unknown outcome, which it is until it completes.
func (r *reader) invoke(e *event, time int64) error {
	if _, open := r.open[e.Process]; open {
		return fmt.Errorf("process %d invokes an operation while its previous one is still open", e.Process)
	}
	asked, err := r.decoder.call(e)
	if err != nil {
		return err
	}
	r.open[e.Process] = len(r.history.operations)
	r.history.invocations++
	r.history.operations = append(r.history.operations, porcupine.Operation{
		ClientId: int(e.Process), Input: asked, Call: time, Return: forever,
	})
	return nil
}

// finish drops what Porcupine need not see. Operations of unknown outcome return after everything else: nothing is
// observed after the end, so that taking effect there is as good as never taking effect.
func (r *reader) finish() {
	kept := r.history.operations[:0]
	for _, operation := range r.history.operations {
		asked := operation.Input.(asked).asks()
		unknown := operation.Return == forever
		if operation.Return == dropped || unknown && asked.pure() {
			continue
		}
		if unknown {
			operation.Return = r.last + 1
		}
		r.history.used[asked] = true
		kept = append(kept, operation)
	}
	r.history.operations = kept
}
