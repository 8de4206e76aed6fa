package main

import (
	"math/rand"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// powerSetBag is the model of an unordered queue as one would write it without thinking about unknown outcomes: a dequeue
// of unknown outcome takes any one element, or none.
func powerSetBag() porcupine.Model {
	model := porcupine.NondeterministicModel{
		Init:  func() []interface{} { return []interface{}{bag{}} },
		Equal: bagModel(nil).Equal,
		Step: func(state, input, output interface{}) []interface{} {
			held := state.(bag)
			if input.(call).function == dequeue && output == nil {
				after := []interface{}{held}
				for place := range held.items {
					after = append(after, bag{without(held.items, place), 0})
				}
				return after
			}
			if legal, next := held.step(input.(call), output); legal {
				return []interface{}{next}
			}
			return nil
		},
	}
	return model.ToModel()
}

func TestBagWithTakersAgreesWithThePowerSet(t *testing.T) {
	const histories = 20000
	random := rand.New(rand.NewSource(1))
	verdicts := make(map[porcupine.CheckResult]int)
	for range histories {
		operations := randomBagHistory(random)
		got := porcupine.CheckOperationsTimeout(bagModel(nil), operations, time.Minute)
		want := porcupine.CheckOperationsTimeout(powerSetBag(), operations, time.Minute)
		if got != want {
			t.Fatalf("%s instead of %s: %+v", got, want, operations)
		}
		verdicts[got]++
	}
	if min(verdicts[porcupine.Ok], verdicts[porcupine.Illegal]) < histories/10 {
		t.Errorf("the histories are one-sided: %v", verdicts)
	}
}

// randomBagHistory has up to seven operations that begin and end anywhere; those of unknown outcome return at the end.
func randomBagHistory(random *rand.Rand) []porcupine.Operation {
	const end = 20
	operations := make([]porcupine.Operation, 3+random.Intn(5))
	for i := range operations {
		start := int64(random.Intn(end - 1))
		operation := porcupine.Operation{Call: start, Return: start + 1 + int64(random.Intn(6)), Output: done{}}
		asked := call{function: enqueue, argument: 1 + random.Intn(3)}
		if random.Intn(5) < 3 {
			asked = call{function: dequeue}
			operation.Output = random.Intn(4)
		}
		if random.Intn(4) == 0 {
			operation.Output, operation.Return = nil, end+10
		}
		operation.Input = asked
		operations[i] = operation
	}
	return operations
}
