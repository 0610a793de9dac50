# A machine with a NAT network, started at boot: nix-build packaging/nix/test.nix
{ pkgs ? import <nixpkgs> { } }:

pkgs.testers.runNixOSTest {
  name = "xennet";
  nodes.machine = {
    imports = [ ./module.nix ];
    services.xennet = {
      enable = true;
      networks.private = {
        mode = "nat";
        subnets = [ "10.0.0.0/24" ];
      };
    };
    networking.nftables.enable = true;
  };
  testScript = ''
    machine.wait_for_unit("xennet-networks.service")
    machine.succeed("xennet network status private")
    machine.succeed("nft list table inet xennet")
    machine.succeed("ip link add vif1.0 type veth peer name guest")
    machine.succeed("xennet attach 1 mac=00:16:3e:00:00:01,bridge=private,ip=10.0.0.1")
    machine.succeed("ip route show 10.0.0.1 | grep vif1.0")
    machine.succeed("xennet detach 1")
    machine.succeed("systemctl stop xennet-networks.service")
    machine.fail("nft list table inet xennet")
  '';
}
