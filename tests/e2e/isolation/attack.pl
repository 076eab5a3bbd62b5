# Asks what no task may ask, with the token that every task can have. Each line of the file that is named first is a
# request: its method (with a dash before it: without the token), path, content type and body, apart by tabs; the byte 1 ends
# a line of the body. Prints the status of each answer.
use strict;
use warnings;
use IO::Socket::INET;

sub ask {
    my ($host, $request) = @_;
    my $socket = IO::Socket::INET->new(PeerAddr => $host, Timeout => 10) or return "HTTP/1.1 000 no answer";
    print $socket $request;
    local $/;
    return scalar <$socket> // "";
}

my ($storage) = $ENV{STORAGE_EMULATOR_HOST} =~ m{^(?:http://)?([^/]+)};
my $metadata = $ENV{GCE_METADATA_HOST};
my $account = "/computeMetadata/v1/instance/service-accounts/default/token";
my $said = ask($metadata, "GET $account HTTP/1.1\r\nHost: $metadata\r\nMetadata-Flavor: Google\r\nConnection: close\r\n\r\n");
my ($token) = $said =~ /"access_token":\s*"([^"]+)"/ or die "no token: $said";

sub request {
    my ($method, $path, $type, $body) = @_;
    $body =~ s/\x01/\r\n/g;
    my $bearer = $method =~ s/^-// ? "" : "Authorization: Bearer $token\r\n";
    return ask($storage,
        "$method $path HTTP/1.1\r\nHost: $storage\r\n${bearer}Content-Type: $type\r\n"
        . "Content-Length: " . length($body) . "\r\nConnection: close\r\n\r\n$body");
}

# An object in parts, as the XML API makes it: whether it may stand there is asked when they are joined.
sub in_parts {
    my ($path, $type, $body) = @_;
    my $begun = request("POST", "$path?uploads", $type, "");
    my ($id) = $begun =~ m{<UploadId>([^<]+)</UploadId>} or return $begun;
    my $put = request("PUT", "$path?uploadId=$id&partNumber=1", $type, $body);
    my ($etag) = $put =~ /^etag: "([^"]+)"/mi or return $put;
    my $list = "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>$etag</ETag></Part></CompleteMultipartUpload>";
    return request("POST", "$path?uploadId=$id", "application/xml", $list);
}

open(my $requests, "<", $ARGV[0]) or die "no requests";
while (my $line = <$requests>) {
    chomp $line;
    my ($method, $path, $type, $body) = split(/\t/, $line, 4);
    my $answer = $method eq "PARTS" ? in_parts($path, $type, $body) : request($method, $path, $type, $body);
    my ($status) = $answer =~ m{^HTTP/1\.1 (\d+)};
    # A batch is answered with 200, whatever its parts are.
    ($status) = $answer =~ m{\r\n\r\n.*?HTTP/1\.1 (\d+)}s if $path =~ m{^/batch/};
    print "$status $method $path\n";
}
