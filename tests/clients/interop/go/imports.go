// Package interop names what the programs of the tests and the documentation import, to be locked and compiled ahead.
package interop

import (
	_ "github.com/cloudevents/sdk-go/v2"
	_ "github.com/nats-io/nats.go/jetstream"
	_ "github.com/oapi-codegen/runtime"
)
