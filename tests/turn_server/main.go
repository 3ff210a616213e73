// A TURN server for the tests: UDP, TCP and TLS on free ports of loopback, with the credentials of the TURN REST API
// (time-limited, by a secret that the gateway knows too). It says where it listens and ends when its input does.
package main

import (
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"os"

	"github.com/pion/turn/v5"
)

func main() {
	certificate := flag.String("certificate", "", "PEM file with the certificate for TLS")
	key := flag.String("key", "", "PEM file with its key")
	secretFile := flag.String("secret-file", "", "file with the shared secret")
	flag.Parse()

	secret, err := os.ReadFile(*secretFile)
	if err != nil {
		log.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(*certificate, *key)
	if err != nil {
		log.Fatal(err)
	}

	udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	tcp, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	secured, err := tls.Listen("tcp4", "127.0.0.1:0", &tls.Config{
		MinVersion:   tls.VersionTLS12,
		Certificates: []tls.Certificate{pair},
	})
	if err != nil {
		log.Fatal(err)
	}

	relay := &turn.RelayAddressGeneratorStatic{RelayAddress: net.ParseIP("127.0.0.1"), Address: "127.0.0.1"}
	server, err := turn.NewServer(turn.ServerConfig{
		Realm:             "genlock.test",
		AuthHandler:       turn.LongTermTURNRESTAuthHandler(string(secret), nil),
		PacketConnConfigs: []turn.PacketConnConfig{{PacketConn: udp, RelayAddressGenerator: relay}},
		ListenerConfigs: []turn.ListenerConfig{
			{Listener: tcp, RelayAddressGenerator: relay},
			{Listener: secured, RelayAddressGenerator: relay},
		},
	})
	if err != nil {
		log.Fatal(err)
	}

	fmt.Printf("ready %d %d %d\n",
		udp.LocalAddr().(*net.UDPAddr).Port, tcp.Addr().(*net.TCPAddr).Port, secured.Addr().(*net.TCPAddr).Port)
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err = server.Close(); err != nil {
		log.Fatal(err)
	}
}
