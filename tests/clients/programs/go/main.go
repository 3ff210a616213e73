// A WHIP publisher and a WHEP viewer on pion: `publish URL CLIP.h264`, or `watch URL FOLDER`.
//
// It tells what it does in lines of JSON, and leaves when its standard input ends.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/h264reader"
	"github.com/pion/webrtc/v4/pkg/media/h264writer"
)

const (
	frameRate    = 30
	framesWanted = 32
)

func main() {
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(way, endpoint, path string) error {
	tell("version", map[string]any{"version": version()})
	connection, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return err
	}
	defer connection.Close()

	connected := make(chan struct{})
	connection.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			close(connected)
		}
	})

	if way == "publish" {
		track, err := webrtc.NewTrackLocalStaticSample(
			webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264}, "video", "pion")
		if err != nil {
			return err
		}
		if _, err := connection.AddTrack(track); err != nil {
			return err
		}
		go func() {
			<-connected
			if err := play(track, path); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		}()
	} else {
		_, err := connection.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo,
			webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		if err != nil {
			return err
		}
		connection.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
			if err := receive(connection, track, filepath.Join(path, "received.h264")); err != nil {
				fmt.Fprintln(os.Stderr, err)
			}
		})
	}

	resource, err := negotiate(connection, endpoint)
	if err != nil {
		return err
	}
	io.Copy(io.Discard, os.Stdin)
	return sayGoodbye(resource)
}

// negotiate POSTs the offer with all its candidates, and returns the URL of the WHIP or WHEP session.
func negotiate(connection *webrtc.PeerConnection, endpoint string) (string, error) {
	offer, err := connection.CreateOffer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(connection)
	if err := connection.SetLocalDescription(offer); err != nil {
		return "", err
	}
	<-gathered

	tell("offer", map[string]any{"unixMs": unixMs()})
	response, err := http.Post(endpoint, "application/sdp", bytes.NewBufferString(connection.LocalDescription().SDP))
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return "", err
	}
	tell("answer", map[string]any{"status": response.StatusCode, "sdp": string(answer)})
	if response.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("%s: %s", response.Status, answer)
	}

	base, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	resource, err := base.Parse(response.Header.Get("Location"))
	if err != nil {
		return "", err
	}
	description := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}
	return resource.String(), connection.SetRemoteDescription(description)
}

func sayGoodbye(resource string) error {
	request, err := http.NewRequest(http.MethodDelete, resource, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// play sends the clip, over and over, at its own rate.
func play(track *webrtc.TrackLocalStaticSample, clip string) error {
	period := time.Second / frameRate
	next := time.Now()
	for {
		file, err := os.Open(clip)
		if err != nil {
			return err
		}
		reader, err := h264reader.NewReader(bufio.NewReader(file))
		if err != nil {
			return err
		}
		for {
			nal, err := reader.NextNAL()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			sample := media.Sample{Data: nal.Data}
			picture := nal.UnitType == h264reader.NalUnitTypeCodedSliceIdr || nal.UnitType == h264reader.NalUnitTypeCodedSliceNonIdr
			if picture {
				sample.Duration = period
			}
			if err := track.WriteSample(sample); err != nil {
				return err
			}
			if picture {
				next = next.Add(period)
				time.Sleep(time.Until(next))
			}
		}
		if err := file.Close(); err != nil {
			return err
		}
	}
}

// receive keeps the H264 that comes, in the order in which it came, and tells when there is enough.
func receive(connection *webrtc.PeerConnection, track *webrtc.TrackRemote, path string) error {
	pli := &rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}
	if err := connection.WriteRTCP([]rtcp.Packet{pli}); err != nil {
		return err
	}
	writer, err := h264writer.New(path)
	if err != nil {
		return err
	}
	frames := 0
	began := false
	for frames < framesWanted {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return err
		}
		// The writer drops what comes before the first key frame; so does this count.
		before := fileSize(path)
		if err := writer.WriteRTP(packet); err != nil {
			return err
		}
		began = began || fileSize(path) > before
		if !began || !packet.Marker {
			continue
		}
		if frames == 0 {
			tell("first-frame", map[string]any{"unixMs": unixMs()})
		}
		frames++
	}
	if err := writer.Close(); err != nil {
		return err
	}
	tell("watched", map[string]any{"frames": frames})
	for {
		if _, _, err := track.ReadRTP(); err != nil {
			return nil
		}
	}
}

func fileSize(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

func tell(event string, fields map[string]any) {
	fields["event"] = event
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	// The event's name comes first, as the reader tells events from other lines by it.
	fmt.Printf("{\"event\":%q,%s\n", event, line[1:])
}

func unixMs() float64 {
	return float64(time.Now().UnixMicro()) / 1000
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if module.Path == "github.com/pion/webrtc/v4" {
				return "pion " + module.Version
			}
		}
	}
	return "pion"
}
