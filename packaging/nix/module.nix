# NixOS: networks of Xen guests.
#
#   services.xennet = {
#     enable = true;
#     networks.lan = { mode = "bridge"; uplink = "eth0"; bridge = "xenbr0"; };
#     networks.private = { mode = "nat"; subnets = [ "10.0.0.0/24" ]; dhcp = true; };
#   };
{ config, lib, pkgs, ... }:

let
  cfg = config.services.xennet;
  toml = pkgs.formats.toml { };
  # A description that cannot be read is an error of the build, not of the boot.
  checked = name: what: file:
    pkgs.runCommand name { } ''
      ${lib.getExe cfg.package} parse ${what} ${file} > /dev/null
      cp ${file} $out
    '';
  networks = checked "networks.toml" "networks" (toml.generate "networks.toml" { network = cfg.networks; });
  hotplug = checked "hotplug.toml" "hotplug" (toml.generate "hotplug.toml" cfg.hotplug);
  run = "${lib.getExe cfg.package}";
in
{
  options.services.xennet = {
    enable = lib.mkEnableOption "networks of Xen guests by xennet";
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The package of xennet.";
    };
    networks = lib.mkOption {
      type = lib.types.attrsOf toml.type;
      default = { };
      example = {
        lan = {
          mode = "bridge";
          uplink = "eth0";
          bridge = "xenbr0";
        };
      };
      description = "The networks, each with the keys of a table [network.NAME] in networks.toml.";
    };
    hotplug = lib.mkOption {
      type = toml.type;
      default = { };
      example = { bind_mac = true; };
      description = "The settings of hotplug calls: the keys of hotplug.toml.";
    };
    replaceScripts = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = ''
        Whether all guests are connected by xennet, by vif.default.script in xl.conf. Otherwise those whose configuration has
        script=xennet-vif-bridge are.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ cfg.package ];
    environment.etc = {
      "xennet/hotplug.toml" = lib.mkIf (cfg.hotplug != { }) { source = hotplug; };
      "xennet/networks.toml" = lib.mkIf (cfg.networks != { }) { source = networks; };
    }
    // lib.genAttrs
      (map (script: "xen/scripts/xennet-${script}") [ "vif-bridge" "vif-nat" "vif-route" ])
      (path: { source = "${cfg.package}/etc/${path}"; });

    virtualisation.xen = lib.mkIf cfg.replaceScripts {
      settings.vif.default.script = "xennet-vif-bridge";
    };

    systemd.tmpfiles.rules = [ "d /run/xennet 0700 root root -" ];
    systemd.services = lib.mkIf (cfg.networks != { }) {
      xennet-recover = {
        description = "Finish or undo what was interrupted in the networking of Xen guests";
        wantedBy = [ "multi-user.target" ];
        after = [ "network-pre.target" "systemd-modules-load.service" "systemd-sysctl.service" "nftables.service" "firewall.service" ];
        before = [ "xennet-networks.service" "xendomains.service" ];
        serviceConfig = {
          Type = "oneshot";
          ExecStart = "${run} recover";
          TimeoutStartSec = 60;
        };
      };
      xennet-networks = {
        description = "Networks of Xen guests";
        wantedBy = [ "multi-user.target" ];
        wants = [ "xennet-recover.service" "network-pre.target" ];
        after = [ "xennet-recover.service" "network-pre.target" "network.target" "nftables.service" "firewall.service" ];
        before = [ "network-online.target" "xendomains.service" ];
        path = [ pkgs.dnsmasq ];
        # A switch to another configuration takes over what can change while guests are attached.
        reloadIfChanged = true;
        restartTriggers = [ networks ];
        serviceConfig = {
          Type = "oneshot";
          RemainAfterExit = true;
          ExecStart = "${run} network start --all";
          ExecReload = "${run} network start --all";
          ExecStop = "${run} network stop --all";
          TimeoutStartSec = 120;
          TimeoutStopSec = 120;
        };
      };
    };
  };
}
