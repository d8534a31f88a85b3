// The gate between a client and a server loses, holds and passes exactly what it is told to. The
// test is both ends of the conversation.
#include "testing/tcp_gate.h"

#include <gtest/gtest.h>

#include "testing/wait_for_stop.h"
#include "unit/raw_tcp.h"

namespace holdfast::testing {
namespace {

using std::chrono::milliseconds;

using Moment = TcpGate::Moment;
using Side = TcpGate::Side;

/// A client of the gate, and the server's end of its connection.
struct Pair {
  RawPeer client;
  RawPeer server;

  /// Whether both ends hear one another.
  bool Talks() {
    return client.Send("question\n") && server.ReadThrough("\n") == "question\n" &&
           server.Send("answer\n") && client.ReadThrough("\n") == "answer\n";
  }
};

class TcpGates : public ::testing::Test {
 protected:
  Pair Connect() {
    RawPeer client = RawPeer::ConnectTo(gate_.port());
    return {std::move(client), listener_.Accept()};
  }
  bool IsRefused() {
    RawPeer client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return !client.Connect(gate_.port());
  }

  RawListener listener_;
  TcpGate gate_{listener_.port()};
};

TEST_F(TcpGates, PassesBothDirectionsAndTheirEnds) {
  Pair pair = Connect();
  EXPECT_TRUE(pair.Talks());
  const std::string large(10'000'000, 'x');
  std::jthread sender([&] {
    pair.client.Send(large);
    pair.client.ShutdownWrite();
  });
  EXPECT_TRUE(pair.server.ReadToEnd() == large);
  EXPECT_TRUE(pair.server.Send("still here"));
  pair.server.Close();
  EXPECT_EQ(pair.client.ReadToEnd(), "still here");
  EXPECT_TRUE(WaitUntilTrue([&] { return gate_.connections() == 0; }));
}

TEST_F(TcpGates, ACutBreaksEveryConnectionAndRefusesNewOnes) {
  Pair one = Connect();
  Pair two = Connect();
  EXPECT_TRUE(one.Talks() && two.Talks());
  for (int round = 0; round < 2; ++round) {
    gate_.Cut();
    EXPECT_EQ(gate_.connections(), 0);
    EXPECT_TRUE(IsRefused());
    EXPECT_EQ(one.client.ReadToEnd(), "");
    EXPECT_EQ(one.server.ReadToEnd(), "");
    EXPECT_FALSE(one.client.Send("x") && one.client.Send("x"));
    gate_.Heal();
    one = Connect();
    EXPECT_TRUE(one.Talks());
  }
}

TEST_F(TcpGates, AServerThatIsNotThereIsAResetConnection) {
  listener_.Close();
  RawPeer client = RawPeer::ConnectTo(gate_.port());
  EXPECT_EQ(client.ReadToEnd(), "");
}

TEST_F(TcpGates, WhatIsFrozenArrivesWhenItThaws) {
  Pair pair = Connect();
  EXPECT_TRUE(pair.Talks());
  gate_.Freeze();
  EXPECT_TRUE(pair.client.Send("question\n") && pair.server.Send("answer\n"));
  // Nothing can come, so this waits as long as it says: what is wrong shows, what is right passes.
  EXPECT_FALSE(pair.server.IsReadable(milliseconds(20)));
  EXPECT_FALSE(pair.client.IsReadable(milliseconds(20)));
  RawPeer late = RawPeer::ConnectTo(gate_.port());
  EXPECT_FALSE(listener_.Accept(milliseconds(20)).is_open());
  gate_.Thaw();
  EXPECT_EQ(pair.server.ReadThrough("\n"), "question\n");
  EXPECT_EQ(pair.client.ReadThrough("\n"), "answer\n");
  EXPECT_TRUE(listener_.Accept().is_open());
}

TEST_F(TcpGates, DelaysWhatClientsSend) {
  Pair pair = Connect();
  gate_.Delay(milliseconds(20), 7);
  const SteadyTime began = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(pair.Talks());
  EXPECT_GT(std::chrono::steady_clock::now() - began, milliseconds(50));
  gate_.Delay(milliseconds(0), 7);
  EXPECT_TRUE(pair.Talks());
}

TEST_F(TcpGates, CutsBeforeATextIsPassedOn) {
  Pair other = Connect();
  Pair pair = Connect();
  gate_.CutOn({.text = "COMMIT"});
  EXPECT_TRUE(pair.Talks());
  pair.client.Send("first COMMIT");
  EXPECT_TRUE(gate_.AwaitCut());
  EXPECT_EQ(pair.server.ReadToEnd(), "first ");
  EXPECT_EQ(other.client.ReadToEnd(), "");
  EXPECT_TRUE(IsRefused());
}

TEST_F(TcpGates, FindsATextThatComesInPieces) {
  Pair pair = Connect();
  gate_.CutOn({.text = "COMMIT", .moment = Moment::kRightAfter});
  pair.client.Send("COM");
  EXPECT_EQ(pair.server.ReadBytes(3), "COM");
  pair.client.Send("MIT");
  EXPECT_TRUE(gate_.AwaitCut());
  EXPECT_EQ(pair.server.ReadToEnd(), "MIT");
  EXPECT_EQ(pair.client.ReadToEnd(), "");
}

TEST_F(TcpGates, CutsBeforeTheAnswerToATextComesBack) {
  Pair pair = Connect();
  gate_.CutOn({.text = "COMMIT", .moment = Moment::kBeforeAnswer});
  pair.client.Send("COMMIT\n");
  EXPECT_EQ(pair.server.ReadThrough("\n"), "COMMIT\n");
  EXPECT_EQ(gate_.connections(), 1);
  pair.server.Send("done\n");
  EXPECT_TRUE(gate_.AwaitCut());
  EXPECT_EQ(pair.client.ReadToEnd(), "");
}

TEST_F(TcpGates, CutsOnWhatTheServerSaysAndOnceOnly) {
  Pair pair = Connect();
  Pair other = Connect();
  gate_.CutOn({.text = "COMMIT", .side = Side::kServer, .all = false});
  pair.client.Send("COMMIT\n");
  EXPECT_EQ(pair.server.ReadThrough("\n"), "COMMIT\n");
  pair.server.Send("COMMIT\n");
  EXPECT_TRUE(gate_.AwaitCut());
  EXPECT_EQ(pair.client.ReadToEnd(), "");
  other.server.Send("COMMIT\n");
  EXPECT_EQ(other.client.ReadThrough("\n"), "COMMIT\n");
  EXPECT_TRUE(Connect().Talks());
}

TEST_F(TcpGates, ARuleIsForgottenWhenItHeals) {
  gate_.CutOn({.text = "COMMIT"});
  gate_.Heal();
  EXPECT_FALSE(gate_.AwaitCut(milliseconds(0)));
  Pair pair = Connect();
  pair.client.Send("COMMIT\n");
  EXPECT_EQ(pair.server.ReadThrough("\n"), "COMMIT\n");
}

TEST_F(TcpGates, CountsWholeMessagesOfTheProtocol) {
  using namespace std::string_literals;
  const std::string encrypt = "\0\0\0\x08\x04\xD2\x16\x2F"s;
  const std::string startup = "\0\0\0\x0A\0\x03\0\0xy"s;
  const std::string query = "Q\0\0\0\x06q\0"s;
  const std::string sync = "S\0\0\0\x04"s;
  Pair pair = Connect();
  gate_.CutOn({.messages = 3, .moment = Moment::kRightAfter});
  const std::string all = encrypt + startup + query + sync + query;
  // In the worst pieces there are.
  for (char byte : all.substr(0, all.size() - 1)) {
    ASSERT_TRUE(pair.client.Send(std::string(1, byte)));
    ASSERT_EQ(pair.server.ReadBytes(1), std::string(1, byte));
  }
  EXPECT_FALSE(gate_.AwaitCut(milliseconds(0)));
  pair.client.Send(all.substr(all.size() - 1) + sync);
  EXPECT_TRUE(gate_.AwaitCut());
  EXPECT_EQ(pair.server.ReadToEnd(), all.substr(all.size() - 1));

  gate_.Heal();
  pair = Connect();
  gate_.CutOn({.messages = 2});
  pair.client.Send(all);
  EXPECT_TRUE(gate_.AwaitCut());
  EXPECT_EQ(pair.server.ReadToEnd(), encrypt + startup + query);
}

}  // namespace
}  // namespace holdfast::testing
